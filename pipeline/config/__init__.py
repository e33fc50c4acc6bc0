"""The configuration: schema, composition and error messages."""

from pipeline.config.compose import (
    compose_tracking,
    parse_config,
    parse_settings,
    parse_tracking,
)
from pipeline.config.hydra_errors import check_renamed, explain_hydra_error
from pipeline.config.path_patterns import expand_patterns
from pipeline.config.quoting import format_setting, format_value, quote, quote_arguments
from pipeline.config.renamed_keys import translate_settings
from pipeline.config.saved_config import recompose, restore_path
from pipeline.config.schema import (
    Config,
    DecisionConfig,
    EarlyStoppingConfig,
    PreprocessingConfig,
    RacingConfig,
    ScoringConfig,
    TextConfig,
    TrackingConfig,
    TrainingConfig,
)
from pipeline.config.schema_data import (
    STRICT,
    ArffConfig,
    CvConfig,
    DatasetConfig,
    KFoldConfig,
    Name,
    NpzConfig,
    OpenmlConfig,
    PredefinedConfig,
    PythonDatasetConfig,
    ShuffleSplitConfig,
    SvmlightConfig,
    SyntheticConfig,
    TableConfig,
    TimeSeriesConfig,
)
from pipeline.config.schema_models import (
    BoostingConfig,
    EstimatorConfig,
    KerasModelConfig,
    MlpConfig,
    MlpPlrConfig,
    ModelConfig,
    ResnetConfig,
    SklearnModelConfig,
    TabmConfig,
)
from pipeline.config.serialization import IMPORTANCE, affects_scores, flatten, to_yaml
