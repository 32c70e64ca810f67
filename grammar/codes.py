"""All codes of diagnostics with their headings: `codes.E504`.

A code's first digit is its subject: 1 text and syntax, 2 names and imports, 3 shapes and dtypes, 4 layers and
arguments, 5 compile time and limits, 6 train blocks, 7 weights, 8 data, runs and text, 9 files and the system. The
codes of warnings begin with `W`: `nablac check` reports them of models without errors, and a comment such as
`# nablac: allow W201` allows one. A code is declared here and nowhere else. Its page, `specs/diagnostics/CODE-*.md`,
begins with the code and its heading, and is what `nablac explain CODE` prints. If `nablac check` reports it, the page
shows a model and the exact text.
"""

from __future__ import annotations


class Code(str):
    """The code of a diagnostic: the text `E504` or `W201`, and a heading that says in a few words what is wrong."""

    heading: str

    def __new__(cls, code: str, heading: str) -> Code:
        """A code with its heading; the name `title` is taken by `str.title`."""
        self = super().__new__(cls, code)
        self.heading = heading
        return self

    def __reduce__(self) -> tuple[type[Code], tuple[str, str]]:
        """The constructor and its arguments, for copies."""
        return Code, (str(self), self.heading)

    @property
    def severity(self) -> str:
        """`error`, or `warning` for codes that begin with `W`."""
        return "warning" if self[0] == "W" else "error"

    @property
    def exit_status(self) -> int:
        """The exit status of a command: 1 for a mistake in the model's text, 2 for one in files or surroundings.

        A warning alone is not a failure: 0.
        """
        if self.severity == "warning":
            return 0
        return 1 if self[1] in "123456" else 2


def declared() -> dict[str, Code]:
    """All codes by name, in the order of their numbers."""
    return {name: value for name, value in globals().items() if isinstance(value, Code)}


def warnings() -> dict[str, Code]:
    """The codes of warnings by name."""
    return {name: code for name, code in declared().items() if code.severity == "warning"}


# Text and syntax

E101 = Code("E101", "an unclosed bracket")
E102 = Code("E102", "an unmatched closing bracket")
E103 = Code("E103", "a string without its closing quote")
E104 = Code("E104", "a docstring without its closing quotes")
E105 = Code("E105", "an invalid character")
E106 = Code("E106", "a malformed number")
E107 = Code("E107", "a number that is too large")
E108 = Code("E108", "an unknown escape sequence")
E109 = Code("E109", "a string in the wrong quotes")
E110 = Code("E110", "an operator from another language")
E111 = Code("E111", "`^` written for a power")
E112 = Code("E112", "a misplaced prime")
E113 = Code("E113", "a syntax error")
E114 = Code("E114", "a named argument written with `=`")
E115 = Code("E115", "`=` for `==`, or `==` for `=`")
E116 = Code("E116", "a block without its opening brace")
E117 = Code("E117", "a keyword used as a name")
E118 = Code("E118", "syntax from another language")
E119 = Code("E119", "an `else` without an `if`")
E120 = Code("E120", "a declaration without a name")
E121 = Code("E121", "a declaration without a type")
E122 = Code("E122", "chained comparisons")
E123 = Code("E123", "a statement outside a declaration")
E124 = Code("E124", "a declaration inside another")
E125 = Code("E125", "a misplaced docstring")
E126 = Code("E126", "brackets or blocks nested too deeply")
E127 = Code("E127", "an expression that is too deep")
E128 = Code("E128", "a file that is too long")
E129 = Code("E129", "an assignment to a part of a tensor")
E130 = Code("E130", "several values in parentheses")
E131 = Code("E131", "a statement without effect")
E132 = Code("E132", "a compound assignment")
E133 = Code("E133", "`output` followed by `=`")
E135 = Code("E135", "a second initial value in one statement")
E136 = Code("E136", "a shape with two `...`")
E140 = Code("E140", "a file that is not UTF-8")
E141 = Code("E141", "a binary file")
E142 = Code("E142", "a Git LFS pointer")
E143 = Code("E143", "a file that is too large")
E144 = Code("E144", "a trained model or arrays instead of a `.model` file")

# Names and imports

E201 = Code("E201", "an unknown name")
E202 = Code("E202", "a duplicate declaration or equation")
E203 = Code("E203", "an import of a missing file")
E204 = Code("E204", "an import of a missing name")
E205 = Code("E205", "a circular import")
E206 = Code("E206", "an unknown member")
E207 = Code("E207", "a parameter read before its layer is applied")
E208 = Code("E208", "a next value of something that is not a state")
E209 = Code("E209", "a next value read before its equation")
E210 = Code("E210", "`_` outside a pipe")
E211 = Code("E211", "an unknown dtype")
E212 = Code("E212", "a declaration of a reserved name")

# Shapes and dtypes

E301 = Code("E301", "incompatible shapes or dtypes")
E302 = Code("E302", "a tensor of the wrong rank")
E303 = Code("E303", "a dim with two sizes")
E304 = Code("E304", "a tensor of the wrong dtype")
E305 = Code("E305", "a number that a dtype cannot represent")
E306 = Code("E306", "a missing or unknown size")
E307 = Code("E307", "an impossible size")
E308 = Code("E308", "a shared instance applied to different sizes")
E309 = Code("E309", "a next value whose type differs from its state")
E310 = Code("E310", "a parameter with an axis of unknown size")
E311 = Code("E311", "an invalid `rearrange`")
E312 = Code("E312", "an invalid `einsum`")
E313 = Code("E313", "a comparison that cannot be decided at compile time")
E314 = Code("E314", "an invalid index or slice")
E315 = Code("E315", "a condition that depends on data")
E316 = Code("E316", "`^T` of a tensor with fewer than two axes")

# Layers, calls and arguments

E401 = Code("E401", "a missing argument")
E402 = Code("E402", "an unknown argument")
E403 = Code("E403", "too many arguments")
E404 = Code("E404", "an argument of the wrong kind")
E405 = Code("E405", "a missing input")
E406 = Code("E406", "too many inputs")
E407 = Code("E407", "a value that cannot be called or applied")
E408 = Code("E408", "a block without `output`")
E409 = Code("E409", "different numbers of names and values")
E410 = Code("E410", "a cell applied like a layer")
E411 = Code("E411", "a state without a next value")
E412 = Code("E412", "a scan of something that is not a cell")
E413 = Code("E413", "sequences of different lengths in a scan")
E414 = Code("E414", "a declaration that its block does not allow")
E415 = Code("E415", "an operator that is not defined for its operands")
E416 = Code("E416", "a duplicate argument")
E417 = Code("E417", "an invalid initial value")
E418 = Code("E418", "a duplicate output name")
E419 = Code("E419", "an unknown preset")
E420 = Code("E420", "a file with no model, or with several")
E421 = Code("E421", "a value that is not a tensor")
E422 = Code("E422", "a positional argument after a named one")
E423 = Code("E423", "a tensor instead of hyperparameters")
E424 = Code("E424", "an ambiguous conditional in a pipe")
E425 = Code("E425", "a scan without an axis")

# Compile time and limits

E501 = Code("E501", "a failed assertion")
E502 = Code("E502", "too many loop iterations")
E503 = Code("E503", "recursion that is too deep")
E504 = Code("E504", "a compilation that exceeds the work budget")
E505 = Code("E505", "undefined arithmetic")
E506 = Code("E506", "overflow in compile-time arithmetic")
E507 = Code("E507", "a condition that is not true or false")
E508 = Code("E508", "a loop over something that cannot be counted")
E509 = Code("E509", "a list or text that is too long")
E510 = Code("E510", "a circular constant")
E511 = Code("E511", "a search without ranges")

# Train blocks

E601 = Code("E601", "a train block for an unknown model")
E602 = Code("E602", "a train block without a loss")
E603 = Code("E603", "a loss or metric that is not a single float")
E604 = Code("E604", "an unknown setting")
E605 = Code("E605", "a setting or data argument of the wrong kind")
E606 = Code("E606", "an optimizer without an update")
E607 = Code("E607", "a value that is not an optimizer")
E608 = Code("E608", "a duplicate setting")
E609 = Code("E609", "an unknown data source or stage")
E610 = Code("E610", "a loss that depends on no trained parameter")
E611 = Code("E611", "a gradient that does not flow")
E612 = Code("E612", "a model without a train block")
E613 = Code("E613", "a pattern of parameters that matches nothing")
E614 = Code("E614", "a gradient with respect to an unknown name")
E615 = Code("E615", "a `monitor` that is not measured")
E616 = Code("E616", "a setting written with `=`")
E617 = Code("E617", "a `monitor` without a known direction")
E618 = Code("E618", "a loss that does not add up over batches")
E619 = Code("E619", "`over epoch` where it cannot apply")
E620 = Code("E620", "`rates` for an optimizer without a learning rate")
E624 = Code("E624", "an axis that does not count the examples")
E628 = Code("E628", "a loss that weights of examples do not fit")
E629 = Code("E629", "mixed precision for a model that is not in f32")

# Weights

E701 = Code("E701", "a weight that is missing from the file")
E702 = Code("E702", "an entry of a weight file that the model does not have")
E703 = Code("E703", "a weight with the wrong shape")
E704 = Code("E704", "a weight with the wrong dtype")
E705 = Code("E705", "a file without weights that can be read")
E706 = Code("E706", "a rename rule that is invalid or does not apply")
E707 = Code("E707", "parameters without initial values")
E708 = Code("E708", "a recurrent layer of a weight file that differs from the model's")

# Data, training runs and text

E801 = Code("E801", "a missing input")
E802 = Code("E802", "an input that the model does not have")
E803 = Code("E803", "an input with the wrong shape")
E804 = Code("E804", "an input with the wrong dtype")
E805 = Code("E805", "inputs that disagree on the size of a dim")
E806 = Code("E806", "an operator that fails on this data")
E807 = Code("E807", "a file that cannot be read as data")
E808 = Code("E808", "a column that is not in the CSV file")
E809 = Code("E809", "an optional package that is not installed")
E810 = Code("E810", "not enough memory")
E811 = Code("E811", "a memory budget that is too small")
E820 = Code("E820", "a data file that does not exist, or is a folder")
E821 = Code("E821", "a broken row or file")
E822 = Code("E822", "a column that the table does not have")
E823 = Code("E823", "data that yields no examples")
E824 = Code("E824", "data that does not fit the model")
E825 = Code("E825", "an augmentation that does not suit the data")
E826 = Code("E826", "a label outside the model's classes")
E827 = Code("E827", "a run's `data.json` that cannot be read")
E828 = Code("E828", "a first CSV row that may be names or data")
E829 = Code("E829", "an input that cannot be an image")
E840 = Code("E840", "a checkpoint that cannot be read")
E841 = Code("E841", "a run that cannot be resumed")
E842 = Code("E842", "training that is no longer finite")
E843 = Code("E843", "a run's folder that is not empty")
E844 = Code("E844", "weights in units that the model cannot use")
E845 = Code("E845", "a loss that reads `step`, with weights that do not record theirs")
E846 = Code("E846", "a metric over all examples whose batches differ in length")
E847 = Code("E847", "numbers that the model's dtype cannot tell apart")
E848 = Code("E848", "one result for texts of different lengths")
E850 = Code("E850", "no usable tokenizer")
E851 = Code("E851", "a tokenizer with more tokens than the model's vocabulary")
E852 = Code("E852", "an empty prompt")
E853 = Code("E853", "text without a tokenizer")
E854 = Code("E854", "no attention to show")
E855 = Code("E855", "a text longer than the model's positions")
E860 = Code("E860", "a model that cannot generate text")
E861 = Code("E861", "beams that share state")
E862 = Code("E862", "a model that is not causal")
E870 = Code("E870", "a study that cannot be resumed")
E871 = Code("E871", "a storage that holds something else")
E872 = Code("E872", "a study's folder that is not empty")
E873 = Code("E873", "a grid with too many combinations")
E874 = Code("E874", "a storage that cannot be used")
E880 = Code("E880", "a model that does not say what data it was trained on")
E881 = Code("E881", "an input that is not of the kind that the model was trained on")
E882 = Code("E882", "a forecast of rows that the model cannot predict")
E883 = Code("E883", "a series that is too short for a window")
E884 = Code("E884", "known values that are missing in the rows to predict")
E890 = Code("E890", "workers that cannot train together")
E891 = Code("E891", "a lost worker")
E892 = Code("E892", "a loss that workers cannot share")
E893 = Code("E893", "a Ray cluster that cannot be used")

# Files and surroundings

E901 = Code("E901", "a file that does not exist")
E902 = Code("E902", "a folder instead of a file")
E903 = Code("E903", "a file that cannot be read")
E904 = Code("E904", "a file that cannot be written")
E905 = Code("E905", "an invalid size")
E906 = Code("E906", "an invalid `--set`")
E907 = Code("E907", "an unsupported opset")
E908 = Code("E908", "a size that no input determines")
E909 = Code("E909", "an ONNX model that onnxruntime cannot load")
E910 = Code("E910", "an unavailable backend, device or target")
E911 = Code("E911", "a file or folder without declarations")
E912 = Code("E912", "an operator that cannot be exported to ONNX as written")
E913 = Code("E913", "a file that is too large")
E914 = Code("E914", "a device or a pipe instead of a file")
E915 = Code("E915", "metadata that nablac did not write")
E916 = Code("E916", "an error of the operating system")
E917 = Code("E917", "an update that reads the batch")
E918 = Code("E918", "a model that cannot be quantised as asked")

# Warnings

W101 = Code("W101", "a comment that allows no warning")
W102 = Code("W102", "an allowed warning that there is not")
W201 = Code("W201", "a value that nothing reads")
W301 = Code("W301", "an image with its channels last")
W302 = Code("W302", "inputs without an axis for a batch")
W601 = Code("W601", "a softmax before a cross entropy")
W602 = Code("W602", "a metric whose direction is unknown")
