"""The printed gradient of a model, computed from its text alone, in PyTorch's float64.

The text is read line by line: comments hold the equations of the model, the other lines those of its gradient, indented
those of one step of a recurrence. Nothing of nablac is used, so that only what is printed counts.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.grad import conv2d_weight

Tensor = Any
_TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e[-+]?\d+)?|\^T|//|\*\*|==|!=|<=|>=|[A-Za-z_][\w.]*'?|.)")
_OPERATORS = {"*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "@": operator.matmul}
_EQUATION = re.compile(r"(\S.*?) = (?:sum over ([\w, ]+?) of )?(.+)")


@dataclass
class Steps:
    """The equations of a step: of the model, by name, and of the gradient, in order."""

    path: str
    index: str = ""  # the name of a step's number
    forward: dict[str, str] = field(default_factory=dict)
    backward: list[tuple[str, list[str], str]] = field(default_factory=list)
    runs_back: bool = False  # whether the forward recurrence runs from the last item to the first


def evaluate(text: str, known: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """All values of a printed gradient by name, from the model's inputs, weights and sizes."""
    whole, parts = Steps(""), [Steps("")]
    program: list[Any] = []
    for line in text.splitlines():
        inside = line.startswith("    ")
        line = line.strip()
        if match := re.match(r"# the steps (\w+) of (\S+) \(\w*\), from the (\w+)", line):
            parts.append(Steps(match[2], index=match[1], runs_back=match[3] == "first"))
            program.append(parts[-1])
        elif line.startswith("# ") and " = " in line:
            equations = re.split(r"  with  |,  |    ", line[2:])
            for equation in equations:
                if " = " in equation:
                    name, _, value = equation.partition(" = ")
                    (parts[-1] if inside else whole).forward[name] = value
        elif " = " in line and not line.startswith("#"):
            match = _EQUATION.fullmatch(line)
            assert match is not None, line
            equation = (match[1], (match[2] or "").split(", ") if match[2] else [], match[3])
            if inside:
                parts[-1].backward.append(equation)
            else:
                program.append(equation)
    values = _Values(dict(known), sizes, whole, {part.path: part for part in parts})
    for item in program:
        if isinstance(item, Steps):
            values.run_back(item)
        else:
            name, over, expression = item
            values.known[name] = values.total(expression, over)
    return values.known


class _Values:
    """Values by name; those of the model are computed when they are first read."""

    def __init__(self, known: dict[str, Tensor], sizes: Mapping[str, int], own: Steps, steps: dict[str, Steps]) -> None:
        self.known, self.sizes, self.own, self.steps = known, sizes, own, steps
        self.traces: dict[str, list[_Values]] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name in self.known:
            return self.known[name]
        if name in self.sizes:
            return self.sizes[name]
        if name in self.own.forward:
            self.known[name] = self.total(self.own.forward[name], [])
            return self.known[name]
        path = max((path for path in self.steps if path and name.startswith(f"{path}.")), key=len, default="")
        assert path, f"{name} has no equation"
        text = name.removeprefix(f"{path}.")
        trace = self.trace(path)
        if state := re.fullmatch(r"(\w+)\[.*\]", text):  # after the last step
            return trace[0 if self.steps[path].runs_back else -1][f"{state[1]}'"]
        return torch.stack([step[text] for step in trace])

    def trace(self, path: str) -> list[_Values]:
        """The values of every step, in the order of the sequence."""
        if path in self.traces:
            return self.traces[path]
        step, prefix = self.steps[path], f"{path}."
        arriving = {name.removeprefix(prefix): name for name in self.own.forward if name.startswith(prefix)}
        sequences = {text: self[name] for text, name in arriving.items() if "[" not in text}
        state = {text.partition("[")[0]: self[name] for text, name in arriving.items() if "[" in text}
        outer = {text.removeprefix(prefix): value for text, value in self.known.items()}
        length = len(next(iter(sequences.values())))
        trace: dict[int, _Values] = {}
        for t in reversed(range(length)) if step.runs_back else range(length):
            here = {**outer, **{text: sequence[t] for text, sequence in sequences.items()}, **state}
            trace[t] = _Values(here, self.sizes, step, {})
            state = {text: trace[t][f"{text}'"] for text in state}
        self.traces[path] = [trace[t] for t in range(length)]
        return self.traces[path]

    def run_back(self, step: Steps) -> None:
        """Run the equations of the backward step over all steps, from the last one that the model ran to the first."""
        prefix, trace = f"{step.path}.", self.trace(step.path)
        arriving = {name.removeprefix(prefix): value for name, value in self.known.items() if name.startswith(prefix)}
        after = {text.partition("[")[0]: value for text, value in arriving.items() if re.fullmatch(r"d\w+\[.*\]", text)}
        sums: dict[str, Tensor] = {}
        for t in range(len(trace)) if step.runs_back else reversed(range(len(trace))):
            here = trace[t]
            for text, value in arriving.items():
                if re.fullmatch(r"d\w+'?", text):
                    here.known[text] = value[t]
            following = f"[{step.index} {'-' if step.runs_back else '+'} 1]"
            here.known |= {f"{text}{following}": value for text, value in after.items()}
            for name, over, expression in step.backward:
                value = here.total(expression, [axis for axis in over if axis != step.index])
                if step.index in over:
                    sums[name] = sums.get(name, 0) + value
                else:
                    here.known[name] = value
            after = {text: here.known[text] for text in after}
        self.known |= {prefix + text: value for text, value in sums.items()}
        states = list(after)
        for name, over, _ in step.backward:
            if step.index not in over:
                self.known[prefix + name] = torch.stack(torch.broadcast_tensors(*(here.known[name] for here in trace)))
        for text in states:
            self.known[f"{prefix}{text}[0]"] = after[text]

    def total(self, expression: str, over: list[str]) -> Tensor:
        """The value of an expression, summed over leading axes."""
        value = _Expression(expression, self).value()
        for _ in over:
            value = value.sum(0)
        return value if isinstance(value, torch.Tensor) else torch.tensor(float(value), dtype=torch.float64)


class _Expression:
    """An expression as a recursive descent reads it."""

    def __init__(self, text: str, values: _Values) -> None:
        self.tokens = [token for token in _TOKEN.findall(text) if token.strip()]
        self.values = values

    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        token = self.tokens.pop(0)
        assert not expected or token in expected, (token, expected, self.tokens)
        return token

    def value(self) -> Tensor:
        result = self.comparison()
        assert not self.tokens, self.tokens
        return result

    def comparison(self) -> Tensor:
        left = self.sum()
        while self.next() in ("==", "!=", "<", ">", "<=", ">="):
            sign, right = self.take(), self.sum()
            compared = {"==": left == right, "!=": left != right, "<": left < right, ">": left > right}
            left = (compared | {"<=": left <= right, ">=": left >= right})[sign].double()
        return left

    def sum(self) -> Tensor:
        left = self.product()
        while self.next() in ("+", "-"):
            left = left + self.product() if self.take() == "+" else left - self.product()
        return left

    def product(self) -> Tensor:
        left = self.sign()
        while self.next() in ("*", "/", "//", "@"):
            sign, right = self.take(), self.sign()
            left = _OPERATORS[sign](left, right)
        return left

    def sign(self) -> Tensor:
        if self.next() == "-":
            self.take()
            return -self.sign()
        base = self.side_by_side()
        if self.next() == "**":
            self.take()
            return base ** self.sign()
        return base

    def side_by_side(self) -> Tensor:
        """`W x` and `W^T x` of a matrix and vectors, and `a b^T`, the outer products of vectors."""
        left, _ = self.postfix()
        if not re.match(r"[A-Za-z_(]", self.next()):
            return left
        right, turned = self.postfix(swaps=False)
        return left[..., :, None] * right[..., None, :] if turned else right @ left.T

    def postfix(self, swaps: bool = True) -> tuple[Tensor, bool]:
        value, turned = self.atom(), False
        while self.next() in ("^T", "["):
            if self.take() == "^T":
                value, turned = value.transpose(-1, -2) if swaps else value, True
                continue
            items: list[slice] = []
            while self.next() != "]":
                ends: list[str] = [""]
                while self.next() not in (",", "]"):
                    token = self.take()
                    ends = [*ends, ""] if token == ":" else [*ends[:-1], ends[-1] + token]
                items.append(slice(*(int(end) if end else None for end in ends)))
                if self.next() == ",":
                    self.take()
            self.take("]")
            value = value[tuple(items)]
        return value, turned

    def atom(self) -> Tensor:
        token = self.take()
        if token == "(":
            value = self.comparison()
            self.take(")")
            return value
        if token == "[":
            items = []
            while self.next() != "]":
                items.append(self.comparison())
                if self.next() == ",":
                    self.take()
            self.take("]")
            return items
        if re.match(r"\d", token):
            return float(token) if re.search(r"[.e]", token) else int(token)
        if token == '"':
            raise AssertionError("a text")
        if self.next() == "(" and token in FUNCTIONS:
            return self.call(token)
        if self.next() == "[":
            indexed = f"{token}[{' '.join(self.tokens[1 : self.tokens.index(']')])}]"
            of_step = re.search(r"\[(?:\w+ [-+] 1|\w+|- 1)\]$", indexed)
            if of_step and (indexed in self.values.known or not re.search(r"^d?\w+\[\d+\]$", indexed)):
                del self.tokens[: self.tokens.index("]") + 1]
                return self.values[indexed]
        return {"true": True, "false": False}.get(token) if token in ("true", "false") else self.values[token]

    def call(self, function: str) -> Tensor:
        self.take("(")
        arguments: list[Any] = []
        named: dict[str, Any] = {}
        while self.next() != ")":
            if len(self.tokens) > 1 and self.tokens[1] == ":":
                name = self.take()
                self.take(":")
                named[name] = self.comparison()
            else:
                arguments.append(self.comparison())
            if self.next() == ",":
                self.take()
        self.take(")")
        return FUNCTIONS[function](*arguments, **named)


def _reduce(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(x: Tensor, axis: int | None = None, axes: list[int] | None = None, keep: bool = False) -> Tensor:
        dims = axes if axes is not None else [axis] if axis is not None else list(range(x.dim()))
        return function(x, dim=dims, keepdim=keep)

    return reduced


def _pulled(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The gradient of a pooling, by PyTorch."""

    def gradient(grad: Tensor, x: Tensor, kernel: list[int], strides: list[int]) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(pool(x, kernel, strides), x, grad.reshape(pool(x, kernel, strides).shape))[0]

    return gradient


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "exp": torch.exp,
    "sqrt": lambda x: torch.as_tensor(x, dtype=torch.float64).sqrt(),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "mean": _reduce(torch.mean),
    "sum": _reduce(torch.sum),
    "transpose": lambda x, axes: x.permute(axes),
    "reshape": lambda x, shape: x.reshape(shape),
    "concat": lambda items, axis: torch.cat(items, axis),
    "unsqueeze": lambda x, axis: x.unsqueeze(axis),
    "squeeze": lambda x, axis: x.squeeze(axis),
    "gather_elements": lambda x, index, axis=-1: torch.gather(x, axis, index),
    "one_hot": lambda index, depth: torch.nn.functional.one_hot(index, depth).double(),
    "pad": lambda x, before, after: torch.nn.functional.pad(
        x, [size for pair in zip(reversed(before), reversed(after), strict=True) for size in pair]
    ),
    "conv": lambda x, w, pads=(0, 0, 0, 0): torch.conv2d(x, w, padding=list(pads[:2])),
    "conv_transpose": lambda x, w, pads=(0, 0, 0, 0): torch.conv_transpose2d(x, w, padding=list(pads[:2])),
    "conv_weight_gradient": lambda x, grad, kernel, pads=(0, 0, 0, 0): conv2d_weight(
        x, (grad.shape[1], x.shape[1], *kernel), grad, padding=list(pads[:2])
    ),
    "max_pool": lambda x, kernel, strides: torch.nn.functional.max_pool2d(x, kernel, strides),
    "average_pool": lambda x, kernel, strides: torch.nn.functional.avg_pool2d(x, kernel, strides),
    "max_pool_gradient": _pulled(torch.nn.functional.max_pool2d),
    "average_pool_gradient": _pulled(torch.nn.functional.avg_pool2d),
}
