"use strict";
// Opens cells of phase diagrams, and draws the other figures once they are about to be seen.
const figures = JSON.parse(document.getElementById("drawn").textContent);
const packed = document.getElementById("plotly");
const dark = matchMedia("(prefers-color-scheme: dark)");
const NARROW = 460; // pixels: from farther away, the axes' words have room beside the surface

// The runs of a cell as a table: a row for every run.
function showRuns(place, button) {
  const {names, cells} = figures[place.dataset.figure];
  const [row, column] = button.dataset.cell.split(",").map(Number);
  const table = document.createElement("table");
  table.className = "columns";
  const caption = table.createCaption();
  caption.textContent = button.getAttribute("aria-label").split(":")[0];
  addRow(table.createTHead(), names, "th");
  const body = table.createTBody();
  for (const run of cells[row][column]) addRow(body, run, "td");
  place.querySelector(".runs").replaceChildren(table);
  for (const other of place.querySelectorAll("button")) {
    other.setAttribute("aria-pressed", other === button);
  }
}

function addRow(part, texts, kind) {
  const row = part.insertRow();
  for (const text of texts) {
    const cell = document.createElement(kind);
    if (kind === "th") cell.scope = "col";
    cell.textContent = text;
    row.append(cell);
  }
}

// The library is packed, so that the page is small; it is unpacked once, where a figure needs it.
async function unpacked() {
  const bytes = Uint8Array.from(atob(packed.textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

let library;

function figureOf(place) {
  return figures[place.id.split("-")[1]];
}

async function draw(place) {
  const {data, layout} = figureOf(place);
  try {
    await (library ??= unpacked());
    if (layout.scene && place.clientWidth < NARROW) {
      const {eye} = layout.scene.camera;
      for (const axis of "xyz") eye[axis] *= 1.2;
    }
    await Plotly.newPlot(place, data, {...layout, ...colors(layout)}, {
      responsive: true,
      displaylogo: false,
      displayModeBar: matchMedia("(hover: none)").matches || "hover",
      modeBarButtons: [layout.scene ? ["toImage", "resetCameraDefault3d"] : ["toImage"]],
    });
  } catch (error) {
    place.textContent = "This browser cannot draw the figure (" + error + "): try a newer one.";
  }
}

// Of text and lines, as the page has them.
function colors(layout) {
  const page = getComputedStyle(document.documentElement);
  const [ink, faint, line, paper] = ["ink", "faint", "line", "paper"].map(
    name => page.getPropertyValue("--" + name)
  );
  const axis = {color: ink, gridcolor: line, zerolinecolor: line};
  const font = {...layout.font, color: ink};
  const modebar = {...layout.modebar, color: faint, activecolor: ink};
  if (!layout.scene) {
    return {font, modebar, xaxis: {...layout.xaxis, ...axis}, yaxis: {...layout.yaxis, ...axis}};
  }
  const {xaxis, yaxis, zaxis, annotations} = layout.scene;
  return {font, modebar, scene: {
    ...layout.scene,
    xaxis: {...xaxis, ...axis},
    yaxis: {...yaxis, ...axis},
    zaxis: {...zaxis, ...axis},
    annotations: annotations.map(one => ({
      ...one,
      arrowcolor: ink,
      bgcolor: one.showarrow === false ? "rgba(0,0,0,0)" : paper,
      font: {color: ink, ...one.font},
    })),
  }};
}

for (const place of document.querySelectorAll("figure.phase")) {
  for (const button of place.querySelectorAll("button")) {
    button.addEventListener("click", () => showRuns(place, button));
  }
}
const soon = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    soon.unobserve(target);
    draw(target);
  }
}, {rootMargin: "600px"});
for (const place of document.querySelectorAll(".drawn")) soon.observe(place);
dark.addEventListener("change", () => {
  for (const place of document.querySelectorAll(".js-plotly-plot")) {
    const {layout} = figureOf(place);
    const turned = layout.scene && {...layout, scene: {...layout.scene, camera: place.layout.scene.camera}};
    Plotly.relayout(place, colors(turned ?? layout));
  }
});
