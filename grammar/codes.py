"""Every code of a diagnostic, with its title: `codes.E504`.

A code's first digit is its subject: 1 text and syntax, 2 names and imports, 3 shapes and dtypes, 4 layers and
arguments, 5 compile time and limits, 6 train blocks, 7 weights, 8 data, runs and text, 9 files and the system.
A code is declared here and nowhere else. Its page, `specs/diagnostics/CODE-*.md`, begins with the code and the title,
shows a model and the exact text that it gets, and is what `nablac explain CODE` prints.
"""

from __future__ import annotations


class Code(str):
    """The code of a diagnostic: the text `E504`, and its heading, what is wrong in a few words."""

    heading: str

    def __new__(cls, code: str, heading: str) -> Code:
        """A code with its heading, which `str.title` leaves no better name."""
        self = super().__new__(cls, code)
        self.heading = heading
        return self

    def __reduce__(self) -> tuple[type[Code], tuple[str, str]]:
        """What a copy is made of."""
        return Code, (str(self), self.heading)

    @property
    def exit_status(self) -> int:
        """What a command ends with: 1 for a fault of the model's text, 2 for one of its surroundings."""
        return 1 if self[1] in "123456" else 2


def declared() -> dict[str, Code]:
    """All codes by name, in the order of their numbers."""
    return {name: value for name, value in globals().items() if isinstance(value, Code)}


# Text and syntax

E101 = Code("E101", "a bracket that nothing closes")
E102 = Code("E102", "a closing bracket that closes nothing")
E103 = Code("E103", "a string without its closing quote")
E104 = Code("E104", "a docstring without its closing quotes")
E105 = Code("E105", "a character that the language does not have")
E106 = Code("E106", "something that starts like a number and is none")
E107 = Code("E107", "a number past what can be computed with")
E108 = Code("E108", "a backslash before something that needs none")
E109 = Code("E109", "a string in quotes of another kind")
E110 = Code("E110", "an operator of another language")
E111 = Code("E111", "`^` where a power is meant")
E112 = Code("E112", "a prime behind something that is no name")
E113 = Code("E113", "something that does not fit where it stands")
E114 = Code("E114", "a named argument written with `=`")
E115 = Code("E115", "`=` where `==` is meant, or the other way round")
E116 = Code("E116", "a block without its opening brace")
E117 = Code("E117", "a keyword where a name belongs")
E118 = Code("E118", "a word or a sign of another language")
E119 = Code("E119", "an `else` that belongs to no `if`")
E120 = Code("E120", "a declaration without a name")
E121 = Code("E121", "a declaration without a type")
E122 = Code("E122", "comparisons in a chain")
E123 = Code("E123", "a statement at the top of a file")
E124 = Code("E124", "a declaration inside of another")
E125 = Code("E125", "a docstring that documents nothing")
E126 = Code("E126", "brackets or blocks nested beyond the limit")
E127 = Code("E127", "an expression beyond the limit")
E128 = Code("E128", "a file of more words and signs than the limit")
E129 = Code("E129", "an equation for a part of a tensor")
E130 = Code("E130", "several values in parentheses")
E131 = Code("E131", "an expression that goes nowhere")
E132 = Code("E132", "an operator that assigns")
E133 = Code("E133", "`output` followed by `=`")
E135 = Code("E135", "a second initial value in one statement")
E136 = Code("E136", "a shape with two `...`")
E140 = Code("E140", "a file that is not UTF-8 text")
E141 = Code("E141", "a file that is not text")
E142 = Code("E142", "a Git LFS pointer")
E143 = Code("E143", "a file larger than the limit")
E144 = Code("E144", "a trained model where a `.model` file belongs")

# Names and imports

E201 = Code("E201", "a name that nothing has")
E202 = Code("E202", "a name that is declared twice, or a next value with two equations")
E203 = Code("E203", "an import of a file that is not there")
E204 = Code("E204", "an import of a name that the file does not have")
E205 = Code("E205", "files that import each other")
E206 = Code("E206", "a member that an instance does not have")
E207 = Code("E207", "a parameter that is read before its layer is applied")
E208 = Code("E208", "a next value of something that is no state")
E209 = Code("E209", "a next value that is read before it is given")
E210 = Code("E210", "`_` where nothing is piped")
E211 = Code("E211", "a dtype that does not exist")
E212 = Code("E212", "a name of the language that is declared")

# Shapes and dtypes

E301 = Code("E301", "shapes or dtypes that an operator cannot combine")
E302 = Code("E302", "a tensor with too few or too many axes")
E303 = Code("E303", "one dim with two sizes")
E304 = Code("E304", "a tensor of another kind where floats are needed")
E305 = Code("E305", "a number that the tensor beside it cannot hold")
E306 = Code("E306", "a shape that is not there")
E307 = Code("E307", "a size that no axis can have")
E308 = Code("E308", "an instance applied to inputs of different sizes")
E309 = Code("E309", "a next value of another shape or dtype than its state")
E310 = Code("E310", "a parameter with an axis of unknown size")
E311 = Code("E311", "a pattern of `rearrange` that does not fit")
E312 = Code("E312", "a pattern of `einsum` that does not fit")
E313 = Code("E313", "a comparison of sizes that is not known yet")
E314 = Code("E314", "an index or a slice that the tensor does not have")
E315 = Code("E315", "a condition that depends on data")
E316 = Code("E316", "`^T` of something with fewer than two axes")

# Layers, calls and arguments

E401 = Code("E401", "an argument that is missing")
E402 = Code("E402", "an argument that nothing takes")
E403 = Code("E403", "more arguments than there are parameters")
E404 = Code("E404", "an argument of the wrong kind")
E405 = Code("E405", "a layer that is not given all its inputs")
E406 = Code("E406", "a layer that is given more than it takes")
E407 = Code("E407", "something that cannot be applied")
E408 = Code("E408", "a block without `output`")
E409 = Code("E409", "as many names as values")
E410 = Code("E410", "a cell that is applied like a layer")
E411 = Code("E411", "a state that never gets a next value")
E412 = Code("E412", "a scan of something that is no cell")
E413 = Code("E413", "sequences of different lengths in one scan")
E414 = Code("E414", "a declaration that has no place in its block")
E415 = Code("E415", "an operator between things that it does not combine")
E416 = Code("E416", "an argument that is given twice")
E417 = Code("E417", "a first value that does not fit its parameter")
E418 = Code("E418", "two outputs, or an output and an input, of one name")
E419 = Code("E419", "a preset that the model does not have")
E420 = Code("E420", "a file with no model, or with several")
E421 = Code("E421", "something else where a tensor is needed")
E422 = Code("E422", "an argument without a name after one with a name")
E423 = Code("E423", "a tensor where hyperparameters belong")
E424 = Code("E424", "a choice in the middle of a pipe")
E425 = Code("E425", "a scan without an axis")

# Compile time and limits

E501 = Code("E501", "an assertion that does not hold")
E502 = Code("E502", "loops that run too often")
E503 = Code("E503", "a definition that applies itself without end")
E504 = Code("E504", "a file that asks for too much work")
E505 = Code("E505", "arithmetic that has no result")
E506 = Code("E506", "a number that is too large")
E507 = Code("E507", "a condition that is neither true nor false")
E508 = Code("E508", "a loop over something that cannot be counted")
E509 = Code("E509", "a list or text that is too long")
E510 = Code("E510", "a constant that is defined by itself")

# Train blocks

E601 = Code("E601", "a train block for a model that is not there")
E602 = Code("E602", "a train block without a loss")
E603 = Code("E603", "a loss or metric that is not one float")
E604 = Code("E604", "a setting that train blocks do not have")
E605 = Code("E605", "a setting or an argument of the wrong kind")
E606 = Code("E606", "an optimizer that never says what `param'` is")
E607 = Code("E607", "something else where an optimizer is needed")
E608 = Code("E608", "a setting that is given twice")
E609 = Code("E609", "a source or a stage of data that does not exist")
E610 = Code("E610", "a loss that depends on no parameter")
E611 = Code("E611", "a gradient that does not flow")
E612 = Code("E612", "a model without a train block")
E613 = Code("E613", "a pattern of `freeze` or `undecayed` that matches nothing")
E614 = Code("E614", "a gradient of something that is not there")
E615 = Code("E615", "a `monitor` that nothing measures")
E616 = Code("E616", "a setting with `=`")
E617 = Code("E617", "a `monitor` of which nothing says what is best")
E618 = Code("E618", "a loss that does not add up over batches")
E624 = Code("E624", "an axis that does not count the examples")

# Weights

E701 = Code("E701", "a weight that the file does not have")
E702 = Code("E702", "an entry of a weight file that the model does not have")
E703 = Code("E703", "a weight of another shape")
E704 = Code("E704", "a weight of another kind of numbers")
E705 = Code("E705", "a file that holds no safetensors weights")
E706 = Code("E706", "a rename rule that cannot be read or does not apply")
E707 = Code("E707", "parameters without first values")

# Data, training runs and text

E801 = Code("E801", "an input that is not given")
E802 = Code("E802", "an input that the model does not have")
E803 = Code("E803", "an input of another shape")
E804 = Code("E804", "an input of another kind of numbers")
E805 = Code("E805", "inputs that give one dim two sizes")
E806 = Code("E806", "an operator that the data made stop")
E807 = Code("E807", "a file that cannot be read as data")
E808 = Code("E808", "a column that the CSV file does not have")
E809 = Code("E809", "a part of nablac that is not installed")
E810 = Code("E810", "not enough memory")
E820 = Code("E820", "a data file that does not exist, or is a folder")
E821 = Code("E821", "a broken row or file")
E822 = Code("E822", "a column that the table does not have")
E823 = Code("E823", "data that makes no examples")
E824 = Code("E824", "data that does not fit the model")
E825 = Code("E825", "an augmentation that does not suit the data")
E826 = Code("E826", "a label that the model has no class for")
E827 = Code("E827", "a run's `data.json` cannot be read")
E828 = Code("E828", "the first row of a CSV file may be names or data")
E829 = Code("E829", "an input that no image can be")
E840 = Code("E840", "a checkpoint that cannot be read")
E841 = Code("E841", "a run that cannot be resumed")
E842 = Code("E842", "a loss that is no number any more")
E843 = Code("E843", "a folder for a run that is not empty")
E844 = Code("E844", "weights in units that a model cannot take")
E845 = Code("E845", "a loss of the step, of weights that do not say theirs")
E846 = Code("E846", "a metric of all examples, of which batches have other lengths")
E847 = Code("E847", "numbers too near each other for the model's type")
E848 = Code("E848", "one result of texts of different lengths")
E850 = Code("E850", "no tokenizer")
E851 = Code("E851", "a tokenizer with more tokens than the model")
E852 = Code("E852", "an empty prompt")
E853 = Code("E853", "text without a tokenizer")
E854 = Code("E854", "no attention to show")
E855 = Code("E855", "a text longer than the model's places")
E860 = Code("E860", "a model that does not generate")
E861 = Code("E861", "beams that are not apart")
E862 = Code("E862", "a model that looks ahead")

# Files and surroundings

E901 = Code("E901", "a file that does not exist")
E902 = Code("E902", "a folder where a file belongs")
E903 = Code("E903", "a file that cannot be read")
E904 = Code("E904", "a file that cannot be written")
E905 = Code("E905", "a size that cannot be counted at")
E906 = Code("E906", "a `--set` that does not set anything")
E907 = Code("E907", "an opset that the model cannot have")
E908 = Code("E908", "a size that nothing tells")
E909 = Code("E909", "an ONNX model that onnxruntime does not load")
E910 = Code("E910", "a backend or a device that is not there")
E911 = Code("E911", "nothing to check")
E912 = Code("E912", "an operator that cannot be exported to ONNX")
E913 = Code("E913", "a file that becomes too large")
E914 = Code("E914", "a device or a pipe in the place of a file")
E915 = Code("E915", "metadata that nablac did not write")
E916 = Code("E916", "the system refuses")
