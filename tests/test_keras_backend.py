"""Keras has the settings that training needs, whatever the user's environment and file say."""

import ast
import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("variables", "file", "expected"),
    [
        ({}, {"backend": "torch"}, []),  # which the variable replaces
        (
            {"KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1"},
            {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3},
            [
                "KERAS_BACKEND=jax is replaced by tensorflow",
                "TF_USE_LEGACY_KERAS=1 is replaced by 0",
                "floatx float16 of Keras is replaced by float32",
                "epsilon 0.001 of Keras is replaced by 1e-07",
                "image_data_format channels_first of Keras is replaced by channels_last",
            ],
        ),
    ],
)
def test_settings_of_keras_are_those_that_training_needs(tmp_path, variables, file, expected):
    (tmp_path / "keras.json").write_text(json.dumps(file))
    program = (
        "from pipeline.keras_backend import reset_keras\n"
        "print(reset_keras()); import keras, numpy\n"
        "print([keras.config.backend(), keras.config.floatx(), keras.config.epsilon(),"
        "keras.config.image_data_format()])\n"
        "print(keras.layers.Dense(1)(numpy.zeros((1, 1))).dtype.name)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    overridden, settings, dtype = process.stdout.splitlines()
    assert ast.literal_eval(overridden) == expected
    assert ast.literal_eval(settings) == ["tensorflow", "float32", 1e-7, "channels_last"]
    assert dtype == "float32"
