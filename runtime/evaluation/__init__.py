"""How good a trained model is: figures over a whole part of the data, in the data's own units, and a report of them."""
