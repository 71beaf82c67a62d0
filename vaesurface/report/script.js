"use strict";
// Draws the figures that the page carries, and lists the runs of a phase diagram's cell.
const figures = JSON.parse(document.getElementById("drawn").textContent);

// The runs of a cell of a figure as a table: a row for every run.
function showRuns(number, row, column) {
  const runs = figures[number].cells.runs[row][column];
  const names = runs.length ? Object.keys(runs[0]) : [];
  const table = document.createElement("table");
  addRow(table, names, "th");
  for (const run of runs) {
    addRow(table, names.map(name => run[name]), "td");
  }
  document.getElementById("runs-" + number).replaceChildren(table);
  document.getElementById("cells-" + number).value = row + "," + column;
}

function addRow(table, values, kind) {
  const row = table.insertRow();
  for (const value of values) {
    const cell = document.createElement(kind);
    cell.textContent = typeof value === "number" ? +value.toPrecision(8) : String(value ?? "");
    row.append(cell);
  }
}

// Cells open by a click in the diagram, or without a mouse by the list of them.
function openCells(number, place) {
  const {alpha, scale} = figures[number].cells;
  const choice = document.getElementById("cells-" + number);
  choice.append(new Option("choose, or click in the diagram", ""));
  scale.forEach((s, row) => alpha.forEach((a, column) => {
    choice.append(new Option("α = " + a + ", scale " + s, row + "," + column));
  }));
  choice.addEventListener("change", () => {
    if (choice.value) showRuns(number, ...choice.value.split(",").map(Number));
  });
  place.on("plotly_click", event => showRuns(number, ...event.points[0].pointNumber));
}

figures.forEach((figure, number) => {
  const place = document.getElementById("figure-" + number);
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false});
  if (figure.cells) openCells(number, place);
});
