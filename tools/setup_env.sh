#!/usr/bin/env bash
# Makes the environment of this repository; a second run only says 'ready'.
#
# Variables (all optional):
#   VENV        where the environment goes                     [.venv]
#   PYTHON      interpreter that makes it, >= 3.10             [python3, ...]
#   STACK       openmmlab | onedl (the maintained fork)        [openmmlab]
#   TORCH_SPEC  requirements, then options of pip, used only when torch is
#               missing                                    [torch==2.13.0]
#
# Everything that is downloaded or compiled stays, as wheels, in
# ${XDG_CACHE_HOME:-~/.cache}/mmdet_assigners, so the next environment needs
# neither network nor compiler.
set -Eeuo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
STACK=${STACK:-openmmlab}
TORCH_SPEC=${TORCH_SPEC:-torch==2.13.0}
MMCV=2.1.0
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/mmdet_assigners
STAMP=$VENV/.mmdet_assigners
LOG=$VENV/setup.log
JOB=''
WORK=''

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: error: %s\n' "$1" >&2
  shift
  if (($#)); then printf '%s\n' "$@" | sed 's/^/setup:   /' >&2; fi
  exit 3
}
have() { command -v "$1" >/dev/null 2>&1; }

cleanup() {
  if [ -n "$JOB" ]; then kill -- "-$JOB" 2>/dev/null || true; fi
  if [ -n "$WORK" ]; then rm -rf "$WORK"; fi
}
trap cleanup EXIT
trap '(($? == 3)) || echo "setup: stopped at line $LINENO; log: $LOG" >&2' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

# run LABEL COMMAND...: output to the log, a sign of life every 15 seconds.
run() {
  local label=$1 start=$SECONDS rc=0
  shift
  say "$label ..."
  printf '\n### %s\n' "$label" >>"$LOG"
  set -m # an own process group, so that cleanup ends all compilers
  "$@" >>"$LOG" 2>&1 </dev/null &
  JOB=$!
  set +m
  while kill -0 "$JOB" 2>/dev/null; do
    sleep 1
    if (((SECONDS - start) % 15 == 14)); then
      say "$label: $(((SECONDS - start) / 60)) min" \
        "$(((SECONDS - start) % 60)) s$(objects "$label")"
    fi
  done
  wait "$JOB" || rc=$?
  JOB=''
  return "$rc"
}

# How far the compiler is: ninja writes '[12/151] c++ ...' to the log.
objects() {
  sed -n "/^### $1/,\$p" "$LOG" | tail -n 400 |
    grep -o '^ *\[[0-9]*/[0-9]*\]' | tail -n 1 | tr -d ' ' |
    sed 's/.*/, objects &/' || true
}

find_python() {
  local name found='' names=(python3 python3.13 python3.12 python3.11 python3.10)
  if [ -n "${PYTHON:-}" ]; then names=("$PYTHON"); fi
  for name in "${names[@]}"; do
    have "$name" || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
      2>/dev/null; then
      printf '%s\n' "$name"
      return
    fi
    found="$found $name=$("$name" --version 2>&1 || true)"
  done
  die "no Python >= 3.10 (looked at:${found:- ${names[*]}, none is there})" \
    'install one, or name it: PYTHON=/path/to/python3.11 make ...'
}

make_venv() {
  if [ -e "$VENV" ]; then
    if [ ! -f "$VENV/pyvenv.cfg" ]; then # a folder or a file of the user's
      die "VENV is '$VENV', which is there and not a virtual environment" \
        'name a folder that is not there yet: VENV=.venv'
    fi
    if ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
      die "$VENV is there but its Python or pip does not start" \
        "remove it and run again: rm -rf '$VENV'"
    fi
    "$VENV/bin/python" -c \
      'import sys; sys.exit(sys.version_info < (3, 10))' ||
      die "$VENV has $("$VENV/bin/python" --version), needed is >= 3.10" \
        "remove it and run again: rm -rf '$VENV'"
    return
  fi
  local python output
  python=$(find_python)
  say "making $VENV with $("$python" --version)"
  if ! output=$("$python" -m venv "$VENV" 2>&1); then
    rm -rf "$VENV"
    die "'$python -m venv' failed: $(tail -n 3 <<<"$output")" \
      'on Debian and Ubuntu: apt-get install python3-venv'
  fi
}

need_disk() { # need_disk GIGABYTES
  local folder free
  for folder in "$VENV" "$CACHE"; do
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 {print int($4 / 1048576)}')
    if ((free < $1)); then
      die "only $free GB free at $folder, needed are about $1 GB" \
        'free some space, or put things elsewhere: VENV=..., XDG_CACHE_HOME=...'
    fi
  done
}

need_compiler() {
  local name
  for name in ${CXX:-} c++ g++ clang++; do
    if have "$name"; then
      export CXX=$name
      return
    fi
  done
  die "no C++ compiler (c++, g++ or clang++), and no mmcv $MMCV compiled for \
this Python and torch in $CACHE/mmcv" \
    'Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++;' \
    'macOS: xcode-select --install; or name one: CXX=/path/to/c++'
}

lock() { # one set-up at a time; the lock ends with this process
  local python
  python=$(find_python)
  mkdir -p "$CACHE" || die "cannot write to $CACHE" 'set XDG_CACHE_HOME'
  exec 9>"$CACHE/lock"
  "$python" - <<'PY'
import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print('setup: another set-up is running, waiting for it ...', flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
PY
}

py() { "$VENV/bin/python" "$@" 9>&-; }
pip() { py -m pip --disable-pip-version-check --no-input "$@"; }
# No index, no user configuration: only what lies in our wheelhouse.
offline() {
  local house=$1
  shift
  PIP_CONFIG_FILE=/dev/null pip --isolated install --no-index \
    --find-links "$house" "$@"
}

# satisfy LABEL WHEELHOUSE REQUIREMENTS... [-OPTIONS...]: install from the
# wheelhouse; what it lacks is first downloaded (or built) into it.
satisfy() {
  local label=$1 house=$2 wanted=()
  shift 2
  local word
  for word in "$@"; do
    case $word in -*) break ;; *) wanted+=("$word") ;; esac
  done
  mkdir -p "$house"
  if run "$label" offline "$house" "${wanted[@]}"; then return; fi
  WORK=$(mktemp -d "$CACHE/tmp.XXXXXX")
  if ! run "downloading $label" pip --retries 2 wheel --wheel-dir "$WORK" \
    --find-links "$house" "$@"; then
    die "cannot get $label (${wanted[*]}); the end of $LOG:" \
      "$(tail -n 4 "$LOG")" \
      "no network? They are not in $house either: connect once, or set" \
      "PIP_INDEX_URL, or copy $CACHE from a machine that has it"
  fi
  mv -f "$WORK"/*.whl "$house"/
  rm -rf "$WORK"
  WORK=''
  run "$label" offline "$house" "${wanted[@]}" ||
    die "pip could not install $label; see the end of $LOG" \
      "$(tail -n 4 "$LOG")"
}

installed() { # installed DISTRIBUTION: print its version, fail if absent
  py -c 'import sys; from importlib.metadata import version
try: print(version(sys.argv[1]))
except Exception: sys.exit(1)' "$1"
}

has_mmcv_ops() { # by its files: importing it takes seconds
  py - "$MMCV" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, distribution
try:
    mmcv = distribution('mmcv')
except PackageNotFoundError:
    sys.exit(1)
ops = [f for f in mmcv.files or () if f.name.startswith('_ext.')]
sys.exit(not (mmcv.version == sys.argv[1] and ops and ops[0].locate().exists()))
PY
}

nvcc() {
  local folder
  for folder in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
    if [ -n "$folder" ] && [ -x "$folder/bin/nvcc" ]; then return; fi
  done
  have nvcc
}

# What a compiled mmcv depends on: versions, CUDA and its architectures.
mmcv_key() {
  WITH_CUDA=$1 py -W ignore - "$MMCV" <<'PY'
import os, platform, re, sys
import torch
ops = 'cpu'
if os.environ['WITH_CUDA']:
    arch = os.environ.get('TORCH_CUDA_ARCH_LIST', '')
    if not arch and torch.cuda.is_available():
        arch = '.'.join(map(str, torch.cuda.get_device_capability()))
    ops = f'cuda{torch.version.cuda}-sm{arch or "all"}'
key = f'{sys.argv[1]}-torch{torch.__version__}-{sys.implementation.cache_tag}'
key += f'-{ops}-{sys.platform}-{platform.machine()}'
print(re.sub(r'[^\w.+-]+', '_', key))
PY
}

cached_wheel() { # cached_wheel FOLDER: the first mmcv in it, or nothing
  find "$1" -name 'mmcv-*.whl' 2>/dev/null | head -n 1 || true
}

install_mmcv() {
  local folder wheel cuda=''
  if py -W ignore -c 'import sys, torch; sys.exit(not torch.version.cuda)'; then
    if nvcc; then
      cuda=1
    else
      say 'torch is a CUDA build but there is no nvcc: mmcv gets CPU ops only'
    fi
  fi
  folder=$CACHE/mmcv/$(mmcv_key "$cuda")
  wheel=$(cached_wheel "$folder")
  if [ -z "$wheel" ]; then
    build_mmcv "$folder" "$cuda"
    wheel=$(cached_wheel "$folder")
  fi
  # --no-deps: the stack of the user's choice brings them
  run "mmcv $MMCV from the cache" offline "$folder" --no-deps \
    --force-reinstall "$wheel" || die "cannot install $wheel, see $LOG"
}

build_mmcv() {
  local folder=$1 cuda=$2
  need_compiler
  py -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    die 'the C headers of Python (Python.h) are missing' \
      'Debian, Ubuntu: apt-get install python3-dev'
  satisfy 'build tools' "$CACHE/wheels" 'setuptools>=66.1,<82' ninja psutil
  say "mmcv $MMCV is compiled once, about ten minutes on two cores; log: $LOG"
  WORK=$(mktemp -d "$CACHE/tmp.XXXXXX")
  # Without isolation, because mmcv builds no ops when it sees no torch.
  if ! TMPDIR=$WORK MMCV_WITH_OPS=1 FORCE_CUDA=${cuda:-0} \
    PATH=$(cd "$VENV/bin" && pwd):$PATH MAX_JOBS=${MAX_JOBS:-$(jobs_that_fit)} \
    run "compiling mmcv $MMCV" pip wheel -v --no-build-isolation --no-deps \
    --no-binary mmcv --no-cache-dir --wheel-dir "$WORK/out" "mmcv==$MMCV"; then
    die "mmcv did not compile; the end of $LOG:" "$(tail -n 15 "$LOG")"
  fi
  py -c 'import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
sys.exit(not any(name.startswith("mmcv/_ext.") for name in names))' \
    "$WORK"/out/mmcv-*.whl || die "mmcv was built without its ops, see $LOG"
  mkdir -p "$folder"
  mv -f "$WORK"/out/mmcv-*.whl "$folder"/
  rm -rf "$WORK"
  WORK=''
}

jobs_that_fit() { # a compiler of mmcv takes up to 2 GB
  py -c 'import os
try: memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
except (ValueError, OSError): memory = 4 << 30
print(max(1, min(os.cpu_count() or 1, memory // (2 << 30))))'
}

# Requirements of our extras, as pip takes them; torch is there.
extras() {
  py - "$@" <<'PY'
import sys
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
for text in requires('mmdet_assigners'):
    need = Requirement(text)
    if need.name == 'torch':
        continue
    if need.marker is None or any(
        need.marker.evaluate({'extra': extra}) for extra in sys.argv[1:]
    ):
        print(f'{need.name}{need.specifier}')
PY
}

stamp() { # changes when the environment must be looked at again
  echo "$STACK $ROOT torch $(installed torch 2>/dev/null)" \
    "$(cat "$ROOT/pyproject.toml" "${BASH_SOURCE[0]}" | cksum)"
}

other_stack() {
  local mine=mmdet other=onedl-mmdetection
  if [ "$STACK" = onedl ]; then
    mine=onedl-mmdetection
    other=mmdet
  fi
  if installed "$other" >/dev/null; then
    die "$VENV holds $other, which shares its folder with $mine (STACK=$STACK)" \
      "make another environment: STACK=$STACK VENV=.venv-$STACK $0"
  fi
}

install_stack() {
  local mim=openmim list
  if [ "$STACK" = onedl ]; then mim=onedl-mim; fi
  run 'this package (editable)' offline "$CACHE/wheels" --no-deps \
    --no-build-isolation --editable "$ROOT" ||
    die "pip install -e failed, the end of $LOG:" "$(tail -n 8 "$LOG")"
  list=$(extras "$STACK" dev)
  # shellcheck disable=SC2086 # one word per requirement
  satisfy "$STACK stack and tools" "$CACHE/wheels" $list
  if ! installed "$mim" >/dev/null; then
    satisfy "$mim" "$CACHE/wheels" "$mim"
  fi
  # openmim drags in setuptools 60, mmengine needs pkg_resources (< 82)
  satisfy setuptools "$CACHE/wheels" 'setuptools>=66.1,<82'
}

main() {
  case $STACK in
    openmmlab | onedl) ;;
    *) die "STACK is '$STACK', expected openmmlab or onedl" ;;
  esac
  if [ "$(cat "$STAMP" 2>/dev/null)" = "$(stamp)" ] &&
    has_mmcv_ops && py -c 'import pip'; then
    say "$VENV is ready ($STACK)"
    return
  fi
  local fresh='' words
  lock # before anything is decided: another set-up may be making it
  [ -x "$VENV/bin/python" ] && installed torch >/dev/null || fresh=1
  need_disk "$([ -n "$fresh" ] && echo 6 || echo 2)"
  make_venv
  other_stack
  if ! has_mmcv_ops && [ -z "$(cached_wheel "$CACHE/mmcv")" ]; then
    need_compiler # before the long downloads
  fi
  rm -f "$STAMP"
  say "log: $LOG"
  satisfy 'pip, setuptools' "$CACHE/wheels" 'pip>=23.1' wheel \
    'setuptools>=66.1,<82'
  if [ -n "$fresh" ]; then
    read -r -a words <<<"$TORCH_SPEC"
    satisfy torch "$CACHE/torch/$(cksum <<<"$TORCH_SPEC" | tr ' ' -)" \
      "${words[@]}"
  else
    say "torch $(installed torch) is there and stays"
  fi
  # mmcv of another torch does not import
  { has_mmcv_ops && py -c 'import torch, mmcv._ext' >/dev/null 2>&1; } ||
    install_mmcv
  install_stack
  run 'import test' py -c \
    'import torch, mmcv._ext, mmengine, mmdet.models, mmdet_assigners' ||
    die "the environment does not import; the end of $LOG:" \
      "$(tail -n 8 "$LOG")"
  stamp >"$STAMP"
  say "$VENV is ready ($STACK)"
}

main
