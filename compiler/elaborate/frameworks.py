"""Names from PyTorch, Keras, TensorFlow and NumPy, and what nablac calls or writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grammar.diagnostics import did_you_mean

_EQUATIONS = "an optimizer is its equations here: `optimizer name(lr = 1e-3) { param' = param - lr * grad }`"
_PROBABILITIES = "`binary_cross_entropy(logits, target)` takes the scores before the sigmoid"

DTYPES = {
    "float": "f32",
    "float32": "f32",
    "float64": "f64",
    "double": "f64",
    "float16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
    "int": "i64",
    "int32": "i32",
    "int64": "i64",
    "long": "i64",
    "int8": "i8",
    "uint8": "u8",
}

# Their names and ours. Names that differ only in case and underscores, such as `ReLU` and `Conv2d`, need no row: the
# search for similar names suggests them.
OUR_NAMES = {
    **{name: ours for name, ours in DTYPES.items() if name not in ("float", "int")},
    # layers
    "Linear": "Dense",
    "Conv2DTranspose": "ConvTranspose2D",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "AveragePooling1D": "AvgPool1D",
    "AveragePooling2D": "AvgPool2D",
    "GlobalMaxPooling1D": "GlobalMaxPool1D",
    "GlobalMaxPooling2D": "GlobalMaxPool2D",
    "GlobalAveragePooling1D": "GlobalAvgPool1D",
    "GlobalAveragePooling2D": "GlobalAvgPool2D",
    "AdaptiveAvgPool2d": "GlobalAvgPool2D",
    "AdaptiveMaxPool2d": "GlobalMaxPool2D",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BatchNorm3d": "BatchNorm",
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "RMSNormalization": "RMSNorm",
    "Dropout2d": "SpatialDropout2D",
    "UpSampling2D": "UpSample2D",
    "Upsample": "UpSample2D",
    "RNN": "SimpleRNN",
    "Attention": "MultiHeadAttention",
    "SelfAttention": "MultiHeadAttention",
    "TransformerEncoderLayer": "EncoderLayer",
    "TransformerDecoderLayer": "DecoderLayer",
    "PositionalEncoding": "SinusoidalPositions",
    "PositionEmbedding": "LearnedPositions",
    # activations
    "σ": "sigmoid",
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    # initializers
    "xavier_uniform": "glorot_uniform",
    "xavier_uniform_": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "xavier_normal_": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_uniform_": "he_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_normal_": "he_normal",
    "trunc_normal": "truncated_normal",
    "trunc_normal_": "truncated_normal",
    "random_normal": "normal",
    "random_uniform": "uniform",
    # losses
    "MSELoss": "mse",
    "mse_loss": "mse",
    "mean_squared_error": "mse",
    "roc_auc_score": "auc",
    "average_precision_score": "average_precision",
    "precision_score": "precision",
    "recall_score": "recall",
    "f1_score": "f1",
    "L1Loss": "mae",
    "l1_loss": "mae",
    "mean_absolute_error": "mae",
    "HuberLoss": "huber",
    "SmoothL1Loss": "huber",
    "smooth_l1_loss": "huber",
    "CrossEntropyLoss": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy",
    "binary_cross_entropy_with_logits": "binary_cross_entropy",
    "kl_div": "kl_divergence",
    "KLDivLoss": "kl_divergence",
    # optimizers and schedules
    "StepLR": "step_decay",
    "ExponentialLR": "exponential_decay",
    "CosineAnnealingLR": "cosine_decay",
    "LinearLR": "linear_decay",
    "OneCycleLR": "one_cycle",
    # functions
    "cat": "concat",
    "Concatenate": "concat",
    "concatenate": "concat",
    "multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "floor_divide": "floor_div",
    "remainder": "mod",
    "negative": "neg",
    "absolute": "abs",
    "clamp": "clip",
    "inf": "infinity",
    "mm": "matmul",
    "bmm": "matmul",
    "tensordot": "einsum",
    "reduce_sum": "sum",
    "reduce_mean": "mean",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "ndim": "rank",
    "view": "reshape",
    "Permute": "transpose",
    "permute": "transpose",
    "swapaxes": "transpose",
    "expand_dims": "unsqueeze",
    "broadcast_to": "expand",
    "repeat": "tile",
    "chunk": "split",
    "index_select": "take",
    "scatter": "scatter_elements",
    "rand": "random.uniform",
    "randn": "random.normal",
    "interpolate": "UpSample2D",
}

# How to write what has no name here.
WRITTEN_HERE = {
    # the language
    "None": "`none` is for optional inputs, which `given(x)` tests for; a new axis is `unsqueeze(x, axis)`",
    "newaxis": "a new axis is `unsqueeze(x, axis)`",
    "True": "write `true`",
    "False": "write `false`",
    "self": "parameters and inputs are called by their names alone",
    "nn": "layers are called by their names alone: `Dense(8)`",
    "np": "tensor functions are called by their names alone: `exp(x)`",
    "torch": "tensor functions are called by their names alone: `exp(x)`",
    "tf": "tensor functions are called by their names alone: `exp(x)`",
    "keras": "layers are called by their names alone: `Dense(8)`",
    "Input": "an input is declared: `input x: [batch, features]`",
    "Parameter": "a parameter is declared: `param W: [features, units] ~ glorot_uniform()`",
    "Sequential": "layers follow one another by `->`: `x -> Dense(8, activation: relu) -> Dense(1)`",
    "ModuleList": "layers are repeated by a loop: `for i in 0..depth { x = x -> Dense(8) }`",
    "Lambda": "a function is declared by `fn name(x) = ...`, and applied by `x -> name`",
    "Activation": "an activation is applied by its name: `x -> relu`",
    "Residual": "a residual connection is a sum: `x + (x -> Dense(8))`",
    # activations
    "relu6": "write `clip(x, 0, 6)`",
    "ReLU6": "write `clip(x, 0, 6)`",
    "PReLU": "write `relu(x) - a * relu(-x)`, with `param a: [1] = 0.25`",
    "prelu": "write `relu(x) - a * relu(-x)`, with `param a: [1] = 0.25`",
    "LogSigmoid": "write `-softplus(-x)`",
    "logsigmoid": "write `-softplus(-x)`",
    "log_sigmoid": "write `-softplus(-x)`",
    # losses
    "nll_loss": "`cross_entropy(logits, label)` takes the scores before the softmax",
    "NLLLoss": "`cross_entropy(logits, label)` takes the scores before the softmax",
    "BCELoss": _PROBABILITIES,
    "bce": _PROBABILITIES,
    # optimizers and schedules
    "nadam": _EQUATIONS,
    "Nadam": _EQUATIONS,
    "radam": _EQUATIONS,
    "adamax": _EQUATIONS,
    "adadelta": _EQUATIONS,
    # functions
    "Multiply": "write `a * b`",
    "Add": "write `a + b`",
    "square": "write `x ** 2`",
    "rsqrt": "write `1 / sqrt(x)`",
    "dot": "write `a @ b` for matrices, `sum(a * b)` for vectors",
    "outer": 'write `einsum("i, j -> i j", a, b)`',
    "var": "write `mean((x - mean(x)) ** 2)`",
    "std": "write `sqrt(mean((x - mean(x)) ** 2))`",
    "norm": "write `sqrt(sum(x ** 2))`",
    "numel": "write `product(shape(x))`",
    "gather": "select rows with `take(x, indices, axis: 0)`, elements with `gather_elements`",
    "masked_fill": "write `where(mask, value, x)`",
    "sort": "`top_k(x, k)` returns the largest elements in order",
    "argsort": "`top_k(x, k)` returns the largest elements in order, and their indices",
    "tril": "a causal mask is `iota(T) <= unsqueeze(iota(T), 1)`",
    "triu": "a mask of the upper triangle is `iota(T) >= unsqueeze(iota(T), 1)`",
    "arange": "write `iota(n)`",
    "zeros_like": "write `zeros(shape(x))`",
    "ones_like": "write `ones(shape(x))`",
    "full_like": "write `full(shape(x), value)`",
}

_FROM_INPUT = "it is read from the shape of the input"
_BOUND = "a layer has the name that it is bound to: `name = Dense(8)`"

# Of an argument, the names that it may have here; the first that the function takes is meant.
ARGUMENTS = {
    "dim": ("axis",),
    "dims": ("axis",),
    "keepdim": ("keep",),
    "keepdims": ("keep",),
    "keep_dims": ("keep",),
    "kernel_size": ("kernel", "window"),
    "pool_size": ("window",),
    "size": ("window",),
    "strides": ("stride",),
    "dilation_rate": ("dilation",),
    "out_channels": ("filters",),
    "out_features": ("units",),
    "hidden_size": ("units", "hidden"),
    "num_units": ("units",),
    "num_heads": ("heads",),
    "n_heads": ("heads",),
    "nhead": ("heads",),
    "num_groups": ("groups",),
    "num_layers": ("depth",),
    "n_layers": ("depth",),
    "dim_feedforward": ("inner",),
    "d_ff": ("inner",),
    "num_embeddings": ("vocabulary",),
    "vocab_size": ("vocabulary",),
    "input_dim": ("vocabulary",),
    "embedding_dim": ("width",),
    "output_dim": ("width",),
    "use_bias": ("bias",),
    "kernel_initializer": ("initializer",),
    "nonlinearity": ("activation",),
    "return_sequences": ("sequences",),
    "return_state": ("states",),
    "go_backwards": ("reverse",),
    "is_causal": ("causal",),
    "depth_multiplier": ("multiplier",),
    "data_format": ("layout",),
    "scale_factor": ("factor",),
    "p": ("rate",),
    "epsilon": ("eps",),
    "learning_rate": ("lr",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "negative_slope": ("slope",),
    "alpha": ("slope",),
    "label_smoothing": ("smoothing",),
    "ignore_index": ("ignore",),
}
_SAID_ELSEWHERE = {
    "in_channels": _FROM_INPUT,
    "in_features": _FROM_INPUT,
    "input_dim": _FROM_INPUT,
    "input_size": _FROM_INPUT,
    "input_shape": _FROM_INPUT,
    "num_features": _FROM_INPUT,
    "num_channels": _FROM_INPUT,
    "normalized_shape": _FROM_INPUT,
    "embed_dim": _FROM_INPUT,
    "d_model": _FROM_INPUT,
    "key_dim": "a head is as wide as the input's last axis, divided by `heads`",
    "betas": "pass them separately: `beta1: 0.9, beta2: 0.999`",
    "bidirectional": "a recurrent layer runs both ways as `Bidirectional(LSTM(8))`",
    "batch_first": "the batch is always the first axis",
    "name": _BOUND,
}


def name_hint(name: str, known: Iterable[str]) -> str | None:
    """The hint for an unknown name: nablac's name for what other frameworks call so, or a similar name."""
    if name in OUR_NAMES:
        return f"nablac calls it `{OUR_NAMES[name]}`"
    return WRITTEN_HERE.get(name) or did_you_mean(name, known)


def argument_hint(name: str, taken: Sequence[str]) -> str:
    """The hint for an unknown argument: our name for it or a similar name, otherwise the known arguments."""
    ours = next((candidate for candidate in ARGUMENTS.get(name, ()) if candidate in taken), None)
    if ours is not None:
        return f"nablac calls it `{ours}`"
    near = _SAID_ELSEWHERE.get(name) or did_you_mean(name, taken)
    return near or (f"it takes {', '.join(taken)}" if taken else "it takes none")
