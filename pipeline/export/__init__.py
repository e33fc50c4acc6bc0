"""Export a final model to ONNX, SavedModel, LiteRT and skops."""

from pipeline.export.export_check import ExportError
from pipeline.export.exported_model import (
    check_packages,
    export_model,
    list_limits,
    new_folder,
)
