"""The served model, as MLflow loads it: code that reads the bundle beside it. Nothing imports this file; `registry` logs it.

`amtl.load(BUNDLE)` gives the same numbers without MLflow.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class BundleModel(PythonModel):  # type: ignore[misc]
    """Probabilities from raw feature values."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read and verify the bundle."""
        import amtl

        self.predictor = amtl.load(context.artifacts["bundle"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """Probabilities, float64 [N], of a frame with one column a field; unknown values and missing optional columns are allowed."""
        return np.asarray(self.predictor.predict(model_input))


mlflow.models.set_model(BundleModel())
