"""Output to the terminal."""

from pipeline.console.notebook_progress import is_notebook
from pipeline.console.output import (
    progress_bar,
    run_command,
    show,
    show_checkpoint_error,
    show_commands,
    show_continued,
    show_dataset,
    show_duplicates,
    show_error,
    show_file,
    show_fold,
    show_job,
    show_job_result,
    show_notes,
    show_prediction,
    show_result,
    show_reused,
    show_run,
    show_shape,
    show_split_warnings,
    show_sweep,
    show_warnings,
    silence,
    waiting,
)
