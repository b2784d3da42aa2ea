from .early_stop_hook import StopWithoutGainHook
from .finite_loss_hook import FiniteLossHook
from .train_progress_hook import TrainProgress, TrainProgressHook
