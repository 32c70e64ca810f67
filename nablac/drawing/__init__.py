"""Drawing a model: its graph as nested boxes, laid out in ranks, as SVG, HTML, Mermaid and DOT."""
