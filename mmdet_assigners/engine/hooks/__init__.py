from .finite_loss_hook import FiniteLossHook
from .train_progress_hook import TrainProgress, TrainProgressHook
