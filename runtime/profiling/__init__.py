"""Where the time of a run goes: by layer, by line of the text and by operator."""
