"""Predict files of raw rows with a saved model, in batches."""

from pipeline.prediction.bad_rows import BadRows
from pipeline.prediction.file_prediction import (
    Answer,
    Labels,
    check_columns,
    encode_rows,
    predict_file,
    score_predictions,
)
from pipeline.prediction.model_folder import ModelFolder, find_model_files, open_model
from pipeline.prediction.output_files import check_output, open_output
from pipeline.prediction.row_files import open_rows
from pipeline.prediction.thresholds import (
    ChosenThresholds,
    parse_thresholds,
    tune_again,
    tuning_kind,
)
