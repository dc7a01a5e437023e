"""How the report's pages look, by day and by night."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1f2328; --dim: #656d76; --line: #d8dee4; --soft: #f6f8fa;
  --pass: #1a7f37; --fail: #cf222e; --non: #9a6700; --info: #0969da; --un: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --fg: #e6edf3; --dim: #8b949e; --line: #30363d;
  --soft: #161b22; --pass: #3fb950; --fail: #ff7b72; --non: #d29922; --info: #58a6ff; --un: #8b949e; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 0 auto; padding: 1.5rem 1rem 4rem;
  background: var(--bg); color: var(--fg); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .4rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; } a { color: var(--info); } header p { max-width: 48rem; }
.dim { color: var(--dim); } .number { color: var(--dim); font-variant-numeric: tabular-nums; }
code, pre { font: 12.5px/1.5 ui-monospace, monospace; }
.apps { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.2rem 0; }
.card { flex: 1 1 17rem; max-width: 24rem; border: 1px solid var(--line); border-top: 4px solid var(--pass);
  border-radius: 8px; padding: .8rem 1rem; background: var(--soft); }
.card.fail { border-top-color: var(--fail); } .card h2 { margin: 0; overflow-wrap: anywhere; }
.card p { margin: .2rem 0; font-size: .87rem; } .card p.state { font-size: 1rem; font-weight: 600; color: var(--pass); }
.card.fail p.state { color: var(--fail); }
.bar { display: flex; height: 8px; border-radius: 4px; overflow: hidden; margin: .5rem 0; gap: 1px; }
.bar i { min-width: 3px; } .bar .pass { background: var(--pass); } .bar .fail { background: var(--fail); }
.bar .non_strict { background: var(--non); } .bar .informational { background: var(--info); }
.bar .unsupported { background: var(--un); } .bar .not_exercised { background: var(--line); }
.chip { display: inline-block; padding: 0 .55em; border-radius: 1em; font-size: .8rem; font-weight: 600;
  line-height: 1.6; text-decoration: none; white-space: nowrap; border: 1px solid; color: var(--c);
  background: color-mix(in srgb, var(--c) 13%, transparent);
  border-color: color-mix(in srgb, var(--c) 35%, transparent); }
a.chip:hover { background: color-mix(in srgb, var(--c) 28%, transparent); }
.chip.pass { --c: var(--pass); } .chip.fail { --c: var(--fail); } .chip.non_strict { --c: var(--non); }
.chip.informational { --c: var(--info); } .chip.unsupported, .chip.not_exercised { --c: var(--un); }
.chip.fail { background: var(--fail); color: var(--bg); }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; font-size: .85rem;
  color: var(--dim); }
table { border-collapse: collapse; } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top; }
table.cases { min-width: min(100%, 40rem); margin-top: 1rem; }
table.cases thead th { position: sticky; background: var(--bg); z-index: 1; }
table.cases thead tr:first-child th { top: 0; height: 2.2rem; } table.cases thead tr + tr th { top: 2.2rem; }
table.cases thead th { box-shadow: 0 1px var(--line); vertical-align: bottom; }
table.cases th.app { text-align: center; border-left: 1px solid var(--line); overflow-wrap: anywhere; }
table.cases th.part { font-size: .8rem; color: var(--dim); font-weight: 500; }
table.cases tbody th { font-weight: 400; } table.cases tbody tr + tr > * { border-top: 1px solid var(--line); }
table.cases tr.group th { font-weight: 600; padding-top: 1.1rem; background: var(--bg); }
table.cases tbody tr:not(.group):hover > * { background: var(--soft); }
table.cases tr:target > * { background: color-mix(in srgb, var(--info) 14%, transparent); }
table.cases tr { scroll-margin-top: 5rem; } .edge { border-left: 1px solid var(--line); }
table.cases .number { display: inline-block; min-width: 3.1rem; }
.scroll { overflow-x: auto; } table.checks, table.wire { font-size: .87rem; width: 100%; }
table.checks td, table.wire td { border-top: 1px solid var(--line); } table.checks code { white-space: nowrap; }
nav { font-size: .9rem; } dl.verdicts { display: grid; grid-template-columns: auto auto; gap: .3rem 1rem;
  width: max-content; margin: .8rem 0; } dl.verdicts dd { margin: 0; } dl.verdicts dt { color: var(--dim); }
.expected { border-left: 3px solid var(--line); padding-left: .8rem; max-width: 48rem; }
.cite { white-space: nowrap; color: var(--dim); border: 1px solid var(--line); border-radius: 4px; padding: 0 .35em;
  font-size: .8rem; }
ul.findings { list-style: none; padding: 0; } ul.findings li { margin: .35rem 0; overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; color: var(--dim); }
table.wire td:nth-child(2) { color: var(--dim); } table.wire td:nth-child(3) { white-space: nowrap; }
table.wire td:last-child { width: 100%; max-width: 0; min-width: 16rem; } table.wire tr.out td b { font-weight: 500; }
table.wire tr.note td b { font-weight: 400; color: var(--dim); }
.rule { font-size: .78rem; color: var(--non); border: 1px solid; border-radius: 4px; padding: 0 .3em; }
details pre { margin: .3rem 0; padding: .5rem; background: var(--soft); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; } summary { cursor: pointer; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
"""
