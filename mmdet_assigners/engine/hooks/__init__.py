from .train_progress_hook import TrainProgress, TrainProgressHook
