"""Readers of data sets: files, arrays and generators."""

from pipeline.dataset.dataset import Dataset, Times
from pipeline.dataset.label_coverage import LabelCoverage, count_pairs, most_frequent
from pipeline.dataset.label_rates import LabelRates, label_rates
from pipeline.dataset.loading import load
from pipeline.dataset.summary import DataSummary, summarise
