"use strict";
// Draws the figures that the page carries, and lists the runs of a phase diagram's cell.
const figures = JSON.parse(document.getElementById("drawn").textContent);
function show(number, row, column) {
  const cells = figures[number].cells, runs = cells.runs[row][column];
  document.getElementById("cells-" + number).value = row + "," + column;
  const table = document.createElement("table"), names = runs.length ? Object.keys(runs[0]) : [];
  const line = (values, kind) => {
    const tr = table.insertRow();
    for (const value of values) {
      const cell = document.createElement(kind);
      cell.textContent = typeof value === "number" ? +value.toPrecision(8) : String(value ?? "");
      tr.append(cell);
    }
  };
  line(names, "th");
  for (const run of runs) line(names.map(name => run[name]), "td");
  document.getElementById("runs-" + number).replaceChildren(table);
}
figures.forEach((figure, number) => {
  const place = document.getElementById("figure-" + number);
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false});
  if (!figure.cells) return;
  const {alpha, scale} = figure.cells, choice = document.getElementById("cells-" + number);
  choice.append(new Option("choose, or click in the diagram", ""));
  scale.forEach((s, row) => alpha.forEach((a, column) => {
    choice.append(new Option("α = " + a + ", scale " + s, row + "," + column));
  }));
  choice.addEventListener("change", () => { if (choice.value) show(number, ...choice.value.split(",").map(Number)); });
  place.on("plotly_click", event => show(number, ...event.points[0].pointNumber));
});
