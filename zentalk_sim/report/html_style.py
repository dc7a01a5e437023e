"""The style sheet of ``report.html``: readable at any width, light or dark, on screen and on paper."""

from __future__ import annotations

CSS = """
:root { --paper: #ffffff; --ink: #1f1f1f; --faint: #5f6368; --line: #dcdcdc; --band: #f5f6f7;
  --held: #00664b; --broken: #a83f00; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e8e8e8; --faint: #a3a8ae; --line: #3a3f45; --band: #1f2226;
    --held: #4fd1a5; --broken: #ff9a5c; --accent: #6cb8ea; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header { border-bottom: 2px solid var(--line); padding-bottom: 1rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .7rem; font-size: 1.2rem; }
p { margin: .35rem 0; max-width: 46rem; overflow-wrap: anywhere; }
.sub, .faint { color: var(--faint); }
.verdict { display: inline-block; margin: .8rem 0 0; padding: .3rem .8rem; border: 1px solid; border-radius: .4rem;
  font-weight: 600; }
.held { color: var(--held); } .broken { color: var(--broken); } .none { color: var(--faint); }
td .held, td .broken { font-weight: 600; white-space: nowrap; }
dl { margin: .6rem 0; max-width: 46rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
.notes { font-size: .88rem; color: var(--faint); } .notes dt { font-weight: 500; color: var(--ink); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 .8rem; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { color: var(--faint); font-weight: 600; }
th.n, td.n { text-align: right; white-space: nowrap; padding-left: .6rem; }
.split { padding-left: 1.2rem; color: var(--faint); }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em; }
pre { padding: .7rem .9rem; background: var(--band); border: 1px solid var(--line); border-radius: .4rem;
  overflow-x: auto; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
ul { padding-left: 1.2rem; max-width: 46rem; } li { margin: .25rem 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure.overview { grid-column: 1 / -1; }
figure img { display: block; width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: .4rem; }
figcaption { margin-top: .3rem; font-size: .85rem; color: var(--faint); }
@media print {
  :root { --paper: #ffffff; --ink: #000000; --faint: #444444; --line: #bbbbbb; --band: #f5f5f5;
    --held: #00543e; --broken: #8a3300; --accent: #000000; }
  main { max-width: none; padding: 0; } body { font-size: 10.5pt; }
  figure, tr, dl { break-inside: avoid; } h2 { break-after: avoid; } .wide, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
}
"""
