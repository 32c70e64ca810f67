"""What methods of Keras, scikit-learn and PyTorch are called here."""

from __future__ import annotations

_CALLS = {
    "fit": "`model.train(data)` trains",
    "partial_fit": "`model.train(data)` goes on from the weights that the model has",
    "train_on_batch": "`model.train(data)` goes on from the weights that the model has",
    "fit_predict": "`model.train(data)` trains, and `model.predict(data)` predicts",
    "compile": "`nablac.compile` has made the model; its train block has the loss, the metrics and the optimizer",
    "score": "`model.evaluate(data)` judges",
    "eval": "`model.evaluate(data)` judges; a model computes in inference mode unless `compile` has `training=True`",
    "predict_proba": "`model(...)` computes all outputs, and `model.predict(data)` reads them",
    "forward": "`model(...)` computes the outputs",
    "call": "`model(...)` computes the outputs",
    "backward": "`model.gradient()` is a model of the gradient",
    "grad": "`model.gradient()` is a model of the gradient",
    "get_weights": "`model.weights` are the arrays by path",
    "set_weights": "`model.weights` are the arrays by path, which take others",
    "state_dict": "`model.weights` are the arrays by path",
    "parameters": "`model.weights` are the arrays by path",
    "trainable_weights": "`model.weights` are the arrays by path",
    "save_weights": "`model.save(path)` writes the weights",
    "load_weights": "`model.load(path)` reads weights",
    "load_state_dict": "`model.load(path)` reads weights",
    "layers": "`model.summary()` lists the layers",
    "count_params": "`model.summary()` counts the parameters",
    "plot": "`model.draw()` is a picture, and `history.plot()` shows the curves of a training",
    "export": "`model.to_onnx(path)` writes an ONNX file",
}


def hint_for(name: str) -> str | None:
    """What to call instead of a method that a model of another library has."""
    return _CALLS.get(name)
