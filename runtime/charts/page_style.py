"""How pages look: CSS with the colours of the palette."""

from __future__ import annotations

from runtime.charts.palette import BEST, BLUE, CANVAS, DARK, FAINT, GRID, INK, MUTED, RAMP, SURFACE, WORSE

_COLORS = (CANVAS, SURFACE, INK, MUTED, GRID, FAINT, BEST, WORSE, BLUE, RAMP[1])


def _variables(side: str) -> str:
    return ";".join(f"--{color.name}:{getattr(color, side)}" for color in _COLORS)


STYLE = (
    f":root{{{_variables('light')}}}\n"
    f"{DARK}{{:root{{{_variables('dark')}}}}}\n"
    """
* { box-sizing: border-box }
html { color-scheme: light dark; -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--canvas); color: var(--ink); font: 16px/1.55 {{font}} }
main { max-width: 1120px; margin: 0 auto; padding: 48px 32px 64px }
header { margin-bottom: 40px }
h1 {
  font-size: 30px; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 6px; font-weight: 650;
  overflow-wrap: anywhere;
}
h2 {
  font-size: 19px; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 14px; font-weight: 600;
  scroll-margin-top: 16px;
}
p { margin: 0 0 14px; max-width: 72ch; overflow-wrap: anywhere }
section { margin: 0 0 44px }
.quiet { color: var(--muted); font-size: 14px }
nav { display: flex; flex-wrap: wrap; gap: 6px 18px; margin-top: 18px; font-size: 14px }
a { color: var(--blue); text-decoration: none }
a:hover { text-decoration: underline }
a:focus-visible, summary:focus-visible, .scrolled:focus-visible, pre:focus-visible {
  outline: 2px solid var(--blue); outline-offset: 2px;
}
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 18px }
.facts div {
  flex: 1 1 150px; max-width: 360px; padding: 14px 18px; border: 1px solid var(--grid); border-radius: 10px;
  background: var(--surface);
}
.scrolled.narrow { max-width: 560px }
.facts dt { font-size: 13px; color: var(--muted) }
.facts dd {
  margin: 2px 0 0; font-size: 24px; line-height: 1.25; font-weight: 600; letter-spacing: -.02em;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
}
.facts dd.quiet { font-size: 13px; font-weight: 400; letter-spacing: 0 }
.scrolled { overflow-x: auto }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px;
  margin: 0 0 14px; align-items: start;
}
figure { margin: 0; min-width: 0 }
figure.wide { grid-column: 1/-1 }
figure svg { display: block; width: 100%; height: auto }
.trial { transition: stroke-width .1s }
.trial:hover { stroke-width: 5px; opacity: 1 }
.pictures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 16px; margin: 0 0 14px;
}
figure img { display: block; max-width: 100%; height: auto; border-radius: 6px }
.pictures img {
  width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--faint);
}
img.tiny { image-rendering: pixelated }
figcaption { margin-top: 6px; font-size: 13px; line-height: 1.4; color: var(--muted); overflow-wrap: anywhere }
.scrolled>table { margin: 0 0 4px }
table {
  border-collapse: collapse; min-width: 100%; font-size: 14px; font-variant-numeric: tabular-nums;
  background: var(--surface);
}
.scrolled:has(>table) {
  border: 1px solid var(--grid); border-radius: 10px; background: var(--surface); margin: 0 0 14px;
}
caption { text-align: left; padding: 10px 14px; color: var(--muted); font-size: 13px }
th, td {
  padding: 7px 14px; text-align: left; border-top: 1px solid var(--grid); white-space: nowrap;
  font-weight: 400;
}
thead th { border-top: 0; color: var(--muted); font-size: 13px; font-weight: 500; background: var(--faint) }
.number { text-align: right }
td.long { white-space: normal; min-width: 320px; overflow-wrap: anywhere }
tbody tr:hover { background: var(--faint) }
tr.strong>* { font-weight: 600; color: var(--best) }
pre {
  margin: 0 0 14px; padding: 14px 18px; overflow-x: auto; border: 1px solid var(--grid); border-radius: 10px;
  background: var(--surface);
  font: 13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace; tab-size: 4;
}
pre .new { color: var(--best) }
pre .gone { color: var(--worse) }
pre .quiet { font-size: inherit }
details { margin: 0 0 14px }
summary { cursor: pointer; color: var(--blue); font-size: 14px; margin-bottom: 10px }
footer { border-top: 1px solid var(--grid); padding-top: 16px; color: var(--muted); font-size: 13px }
@media (max-width:640px) {
  main { padding: 24px 16px 40px }
  h1 { font-size: 24px }
  section { margin-bottom: 32px }
  .facts div { flex-basis: 130px; padding: 10px 14px }
  .facts dd { font-size: 20px }
}
@media print {
  body { background: #fff; font-size: 11pt }
  main { max-width: none; padding: 0 1px }
  nav { display: none }
  .figures { grid-template-columns: repeat(2, 1fr) }
  figure svg { min-width: 0 !important }
  figure, tr, .facts div, pre { break-inside: avoid }
  h2 { break-after: avoid }
  .scrolled { overflow: visible }
  th, td { padding: 3px 8px; font-size: 9pt; white-space: normal }
  th.number, td.number { white-space: nowrap }
  td.long { min-width: 0 }
}
@media (prefers-reduced-motion:reduce) {
  * { transition: none }
}
""".strip()
)
