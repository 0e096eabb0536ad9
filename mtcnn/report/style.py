"""How the report looks, in light and in dark, on a desk and on a phone."""

STYLE = """
:root {
  --page: #fbfbf9; --card: #ffffff; --ink: #1d2126; --soft: #5c646d; --line: #e3e4e0; --grid: #ecedea; --tile: #f1f1ee;
  --shade: #1d212638;
  --c1: #2563c9; --c2: #c2570c; --c3: #0b8268; --c4: #8b46c4;
  --r1: #9db8e6; --r2: #2563c9; --r3: #17498f; --r4: #0c2750;
  --found: #2fd36b; --missed: #ffd21f; --false: #ff4d4d; --ignored: #8fa3ff;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #15181b; --card: #1c2024; --ink: #e8eaec; --soft: #9ba4ad; --line: #2e343a; --grid: #2a2f35; --tile: #262b30;
  --shade: #000000b0;
  --c1: #74a7ff; --c2: #f59a55; --c3: #45cda6; --c4: #c597f5;
  --r1: #3c5f9c; --r2: #74a7ff; --r3: #aecbff; --r4: #dfeaff;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header, main, nav { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 44px; }
header p { margin: 0; color: var(--soft); }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -.02em; margin: 2px 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 22px; letter-spacing: -.01em; margin: 0 0 12px; }
h3 { font-size: 15px; margin: 28px 0 8px; overflow-wrap: anywhere; }
section { padding: 36px 0 12px; border-top: 1px solid var(--line); margin-top: 28px; }
nav {
  display: flex; gap: 4px 20px; flex-wrap: wrap; margin-top: 18px; font-size: 14px;
}
nav a { color: var(--c1); text-decoration: none; padding: 3px 0; }
nav a:hover { text-decoration: underline; }
.note { color: var(--soft); font-size: 13.5px; max-width: 76ch; margin: 8px 0 14px; overflow-wrap: anywhere; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 4px 0 18px;
}
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  display: flex; flex-direction: column; min-width: 0;
}
.card b {
  font-size: 23px; line-height: 1.2; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums;
}
.card.lead b { font-size: 44px; line-height: 1.05; letter-spacing: -.03em; color: var(--c1); }
.card span { font-size: 13.5px; overflow-wrap: anywhere; }
.card small { color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
.wide {
  /* A shade at the edge where columns are out of sight; its cover, the page's colour, moves along with the table. */
  overflow-x: auto; margin: 8px 0;
  background: linear-gradient(to left, var(--page) 40%, transparent) right / 48px 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 16px 100% no-repeat scroll;
}
table {
  border-collapse: separate; border-spacing: 0; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums;
  white-space: nowrap;
}
th, td { padding: 7px 0 7px 18px; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--page); }
thead th { color: var(--soft); font-weight: 500; font-size: 12.5px; }
tbody th { font-weight: 600; }
.left td { text-align: left; white-space: normal; overflow-wrap: anywhere; width: 100%; }
.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(310px, 100%), 1fr)); gap: 14px;
  margin: 10px 0;
}
.chart {
  margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 14px 8px; min-width: 0;
}
.chart { display: flex; flex-direction: column; }
.chart figcaption { font-weight: 600; font-size: 14px; }
.chart svg { display: block; width: 100%; height: auto; margin-top: auto; padding-top: 6px; }
.chart text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--grid); stroke-width: 1; }
.chart .base { stroke: var(--soft); stroke-width: 1; opacity: .5; }
.chart .kept { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.chart polyline {
  fill: none; stroke: var(--k); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
}
.chart circle { fill: var(--k); }
.chart rect { fill: var(--k); }
.k1 { --k: var(--c1); } .k2 { --k: var(--c2); } .k3 { --k: var(--c3); } .k4 { --k: var(--c4); }
.o1 { --k: var(--r1); } .o2 { --k: var(--r2); } .o3 { --k: var(--r3); } .o4 { --k: var(--r4); }
.found { --k: var(--found); }
.missed { --k: var(--missed); }
.false { --k: var(--false); }
.ignored { --k: var(--ignored); }
.key {
  display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 3px 0 0; font-size: 12.5px; color: var(--soft);
}
.key i {
  display: inline-block; width: 12px; height: 4px; border-radius: 2px; background: var(--k);
  margin-right: 6px; vertical-align: 3px;
}
.key i.found, .key i.missed, .key i.false, .key i.ignored {
  width: 11px; height: 11px; vertical-align: -1px; background: none; border: 2.5px solid var(--k);
}
.bar {
  display: grid; grid-template-columns: minmax(96px, 170px) 1fr auto; gap: 3px 12px; align-items: center;
  font-size: 14px; margin: 5px 0;
}
.bar span { overflow-wrap: anywhere; }
.bar i { display: block; height: 12px; border-radius: 3px; background: var(--c1); min-width: 2px; }
.bar b { font-weight: 500; font-variant-numeric: tabular-nums; }
.sheets {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 6px 28px;
}
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(54px, 1fr)); gap: 4px; }
.crops svg {
  display: block; width: 100%; height: auto; background: var(--tile); border-radius: 4px; overflow: hidden;
}
.crops rect, .shot rect {
  fill: none; stroke: var(--k); stroke-width: 1.5; vector-effect: non-scaling-stroke;
}
.crops circle { fill: #ff3d7a; }
.crops figure, .tiles figure { margin: 0; min-width: 0; }
.crops figcaption {
  font-size: 11px; color: var(--soft); text-align: center; font-variant-numeric: tabular-nums;
}
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 12px 8px; }
.tiles figcaption {
  font-size: 11.5px; line-height: 1.35; color: var(--soft); font-variant-numeric: tabular-nums;
  margin-top: 3px; overflow-wrap: anywhere;
}
.tiles figcaption b { color: var(--ink); font-weight: 600; }
.pictures { display: flex; flex-wrap: wrap; gap: 14px 12px; margin-top: 8px; }
.pictures::after { content: ""; flex: 100 1 0; }
.pictures figure { margin: 0; min-width: 0; }
.pictures figcaption { font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; }
.shot {
  display: block; width: 100%; height: auto; border-radius: 6px; background: var(--tile); overflow: hidden;
}
.shot rect { stroke-width: 2; filter: drop-shadow(0 0 1px #000a); }
.shot circle { fill: #ff5c8a; }
.shot .ignored { stroke-dasharray: 3 3; }
.shot .missed { stroke-dasharray: 6 3; }
details {
  margin: 10px 0; border: 1px solid var(--line); border-radius: 10px; background: var(--card);
  padding: 10px 16px;
}
summary { cursor: pointer; font-weight: 600; }
pre {
  overflow-x: auto; font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  margin: 10px 0 4px;
}
td code, small code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 560px) {
  header, main, nav { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 26px; }
  h1 { font-size: 27px; }
  .cards { grid-template-columns: 1fr 1fr; }
  .card.lead { grid-column: 1 / -1; }
  .tiles { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
  .pictures figure { flex-basis: 100% !important; }
}
@media print { section, figure { break-inside: avoid; } nav { display: none; } }
"""
