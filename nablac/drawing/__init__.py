"""Drawing a model: its graph as boxes by layer, laid out by ranks, as SVG, HTML, Mermaid and DOT."""
