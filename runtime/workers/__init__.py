"""Several workers that train one model: what they tell each other, and the engines that carry it."""
