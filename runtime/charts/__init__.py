"""Charts as SVG and reports as HTML pages: light and dark, complete in themselves, without a script."""
