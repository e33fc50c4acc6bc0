"""From raw rows to the input of a model: the schema of a table, and what each fold learns."""

from pipeline.preprocessing.column import Column
from pipeline.preprocessing.column_values import encode_texts, is_text
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.preprocessing.preprocessor import Layout, Preprocessor
from pipeline.preprocessing.table_schema import TableSchema
