"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const trouble = (text) => {
    $("trouble").textContent = text;
    $("trouble").hidden = false;
  };
  if (typeof DecompressionStream === "undefined") {
    trouble("This page needs a browser of 2023 or later (DecompressionStream).");
    return;
  }

  // -- what is in the page: base64 of zlib ----------------------------------------------------------------------------

  const bytes = (id) => {
    const text = atob($(id).textContent);
    const made = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) made[i] = text.charCodeAt(i);
    $(id).remove();
    return made;
  };
  const unpacked = (id) =>
    new Response(new Blob([bytes(id)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();

  const data = await unpacked("data");
  const length = new DataView(data).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const kinds = { f4: Float32Array, f8: Float64Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
  const array = (part) => new kinds[part.type](data, part.at, part.length);
  const axes = about.axes.map(array);
  const columns = about.columns.map((column) => ({ ...column, values: array(column.values) }));
  const labels = about.labels;
  const n = labels.length;

  const source = document.createElement("script");
  source.textContent = new TextDecoder().decode(await unpacked("plotly"));
  document.head.append(source);

  // -- text: shown as text, with what does not print escaped ----------------------------------------------------------

  const odd = /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu;
  const shown = (text) =>
    String(text).replace(odd, (c) => (c === "\u200c" || c === "\u200d" ? c : `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`));
  // Plotly takes some tags in texts for formatting.
  const drawn = (text) => shown(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const number = (value) => (Number.isNaN(value) ? "–" : Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4));
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  // -- classes: of many, the largest have a colour of their own -------------------------------------------------------

  const most = about.palette.length;
  for (const column of columns.filter((one) => one.names)) {
    column.counts = new Uint32Array(column.names.length);
    for (const code of column.values) column.counts[code]++;
    const order = [...column.names.keys()];
    if (order.length > most) order.sort((a, b) => column.counts[b] - column.counts[a] || a - b);
    column.groups = new Uint8Array(column.names.length);
    const kept = order.length > most ? order.slice(0, most - 1).sort((a, b) => a - b) : order;
    if (order.length > most) column.groups.fill(most - 1);
    kept.forEach((code, group) => { column.groups[code] = group; });
    let next = 0;
    column.legend = kept.map((code) => ({
      name: column.names[code], colour: column.names[code] ? about.palette[next++] : about.rest, count: column.counts[code],
    }));
    if (order.length > most) {
      const rest = kept.reduce((sum, code) => sum - column.counts[code], n);
      column.legend.push({ name: `${(order.length - kept.length).toLocaleString("en")} others`, colour: about.rest, count: rest });
    }
  }

  // -- what is drawn --------------------------------------------------------------------------------------------------

  const flat = axes.length === 2;
  const state = { colour: about.colour, filter: about.filter, hidden: new Set(), hits: [], pinned: null };
  let rowsOf = [];
  const size = n < 500 ? 9 : n < 3000 ? 6 : n < 20000 ? 4 : n < 100000 ? 3 : 2;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isShown = (row) => {
    if (state.filter < 0 || !state.hidden.size) return true;
    const column = columns[state.filter];
    return !state.hidden.has(column.groups[column.values[row]]);
  };

  const trace = (rows, marker, extra) => {
    const picked = axes.map((values) => {
      const made = new Float32Array(rows.length);
      for (let i = 0; i < rows.length; i++) made[i] = values[rows[i]];
      return made;
    });
    rowsOf.push(rows);
    const made = { type: flat ? "scattergl" : "scatter3d", mode: "markers", hoverinfo: "none", x: picked[0], y: picked[1], marker, ...extra };
    if (!flat) made.z = picked[2];
    return made;
  };

  // Flat, rings and what is written beside them lie above the points, which need not be drawn anew for them.
  let [rings, written] = [[], []];
  // Above, below, right or left of its point, wherever no other label is; nowhere, if they all are taken.
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = "12px sans-serif";
  let taken = [];
  const place = (row, text, radius) => {
    const { xaxis, yaxis } = $("plot")._fullLayout ?? {};
    const [wide, high] = [ruler.measureText(text).width / 2 + 3, 9];
    const [x, y] = xaxis ? [xaxis.l2p(axes[0][row]), yaxis.l2p(axes[1][row])] : [0, 0];
    for (const [right, up] of [[0, radius + 9], [0, -radius - 9], [radius + wide + 1, 0], [-radius - wide - 1, 0]]) {
      const box = [x + right - wide, y - up - high, x + right + wide, y - up + high];
      if (xaxis && taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      return [right, up];
    }
    return null;
  };
  const ringed = (rows, colour, most) => {
    const texts = rows.slice(0, most).map((row) => drawn(cut(labels[row], 40)));
    if (!flat) {
      const marker = { size: size + 7, symbol: "circle-open", color: colour, line: { width: 2, color: colour } };
      const textfont = { color: css("--ink"), size: 12 };
      return [trace(rows, marker, { mode: "markers+text", textposition: "top center", textfont, text: texts })];
    }
    const radius = size / 2 + 4;
    for (const row of rows) {
      rings.push({
        type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: axes[0][row], yanchor: axes[1][row],
        x0: -radius, x1: radius, y0: -radius, y1: radius, line: { width: 1.5, color: colour },
      });
    }
    texts.forEach((text, i) => {
      const shift = place(rows[i], cut(shown(labels[rows[i]]), 40), radius);
      if (!shift) return;
      written.push({
        text, x: axes[0][rows[i]], y: axes[1][rows[i]], showarrow: false, xshift: shift[0], yshift: shift[1],
        bgcolor: css("--paper"), opacity: 0.88, borderpad: 1, font: { color: css("--ink"), size: 12 },
      });
    });
    return [];
  };
  const marks = () => {
    [rings, written, taken] = [[], [], []];
    const notable = about.notable.filter(isShown);
    const hits = [];
    for (let i = 0; i < state.hits.length && hits.length < 100; i++) if (isShown(state.hits[i])) hits.push(state.hits[i]);
    return [...(notable.length ? ringed(notable, css("--ink"), 60) : []), ...(hits.length ? ringed(hits, "#ff3d71", 25) : [])];
  };

  const traces = () => {
    rowsOf = [];
    const rows = [];
    for (let row = 0; row < n; row++) if (isShown(row)) rows.push(row);
    $("shown").textContent = rows.length === n ? `${n.toLocaleString("en")} points` : `${rows.length.toLocaleString("en")} of ${n.toLocaleString("en")} points`;
    const opacity = n < 5000 ? 0.85 : 0.65;
    const column = columns[state.colour];
    let made;
    if (!column) {
      made = [trace(rows, { size, opacity, color: about.palette[0] })];
    } else if (column.names) {
      const groups = column.legend.map(() => []);
      for (const row of rows) groups[column.groups[column.values[row]]].push(row);
      made = groups.map((group, i) => trace(group, { size, opacity, color: column.legend[i].colour }));
    } else {
      let [low, high] = [Infinity, -Infinity];
      for (const value of column.values) { if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); } }
      if (low > high) [low, high] = [0, 1];  // no value is known
      const colorbar = { title: { text: drawn(cut(column.name, 24)) }, thickness: 12, len: 0.5, outlinewidth: 0, tickfont: { color: css("--ink") }, x: 1, xanchor: "right" };
      colorbar.title.font = { color: css("--ink"), size: 12 };
      const scale = { colorscale: "Viridis", cmin: low, cmax: high, showscale: true, colorbar };
      if (n <= 20000) {
        made = [trace(rows, { size, opacity, color: rows.map((row) => column.values[row]), ...scale })];
      } else {
        // Plotly takes seconds to give so many points a colour each: here those of about the same value share one.
        const groups = [...about.scale.map(() => []), []];
        const last = about.scale.length - 1;
        const steps = about.scale.length / (high - low || 1);
        for (const row of rows) {
          const value = column.values[row];
          groups[Number.isFinite(value) ? Math.min(last, Math.floor((value - low) * steps)) : last + 1].push(row);
        }
        made = groups.map((group, i) => trace(group, { size, opacity, color: about.scale[i] ?? about.rest }));
        made.push({ ...trace([], { size, color: [low], ...scale }), x: [null], y: [null], ...(flat ? {} : { z: [null] }) });
      }
    }
    made.push(...marks());
    return made;
  };

  // The whole map with some room, whatever is filtered out.
  const spans = axes.map((values) => {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    return [low, high];
  });
  const room = Math.max(...spans.map(([low, high]) => high - low)) * 0.04 || 1;
  const whole = spans.map(([low, high]) => [low - room, high + room]);
  const bare = () => ({ visible: false, showgrid: false, zeroline: false });
  const layout = () => {
    const made = {
      paper_bgcolor: css("--paper"), plot_bgcolor: css("--paper"), margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false,
      hovermode: "closest", dragmode: flat ? "pan" : "orbit", uirevision: "same", font: { color: css("--ink") },
    };
    if (flat) Object.assign(made, { xaxis: { ...bare(), range: [...whole[0]] }, yaxis: { ...bare(), range: [...whole[1]], scaleanchor: "x" }, annotations: written, shapes: rings });
    else {
      const axis = () => ({ showbackground: false, showticklabels: false, title: { text: "" }, gridcolor: css("--line"), zeroline: false, showspikes: false });
      made.scene = { aspectmode: "data", xaxis: axis(), yaxis: axis(), zaxis: axis(), bgcolor: css("--paper") };
    }
    return made;
  };
  const config = { responsive: true, scrollZoom: true, displaylogo: false };
  // Named one by one: what plotly.js offers by itself includes sending data to a server.
  config.modeBarButtons = [flat ? ["toImage", "pan2d", "zoom2d", "zoomIn2d", "zoomOut2d", "resetScale2d"] : ["toImage", "orbitRotation", "pan3d", "zoom3d", "resetCameraDefault3d"]];
  const draw = () => Plotly.react("plot", traces(), layout(), config);
  const mark = () => {
    if (!flat) { draw(); return; }
    marks();
    Plotly.relayout("plot", { shapes: rings, annotations: written });
  };

  // -- the card of a point --------------------------------------------------------------------------------------------

  let sprite = null;
  if (about.thumbnails) {
    sprite = URL.createObjectURL(new Blob([bytes("sprite")], { type: about.thumbnails.type }));
    const { columns: across, width, height } = about.thumbnails;
    const zoom = Math.max(1, Math.round(96 / Math.max(width, height)));
    Object.assign($("picture").style, {
      width: `${width * zoom}px`, height: `${height * zoom}px`, backgroundImage: `url(${sprite})`,
      backgroundSize: `${across * width * zoom}px auto`,
    });
    $("picture").hidden = false;
    about.thumbnails.zoom = zoom;
  }
  const card = (row, x, y) => {
    $("label").textContent = shown(labels[row]) || "(empty)";
    $("facts").replaceChildren(...about.card.map((j) => {
      const column = columns[j];
      const value = column.values[row];
      const line = make("div");
      line.append(make("i", `${shown(column.name)}: `), cut(shown(column.names ? column.names[value] : number(value)), 300));
      return line;
    }));
    if (sprite) {
      const { columns: across, width, height, zoom } = about.thumbnails;
      $("picture").style.backgroundPosition = `-${(row % across) * width * zoom}px -${Math.floor(row / across) * height * zoom}px`;
    }
    $("card").hidden = false;
    const box = $("card").getBoundingClientRect();
    $("card").style.left = `${Math.min(x + 14, innerWidth - box.width - 4)}px`;
    $("card").style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 4))}px`;
    $("card").dataset.row = row;
  };
  const pointer = { x: 0, y: 0 };
  $("plot").addEventListener("mousemove", (event) => { pointer.x = event.clientX; pointer.y = event.clientY; }, true);

  // -- search ---------------------------------------------------------------------------------------------------------

  let lower = null;
  const find = (text) => {
    const wanted = text.toLowerCase();
    if (!wanted) return [];
    lower = lower || labels.map((label) => label.toLowerCase());
    const found = [[], [], []];  // exactly, at the beginning, somewhere
    for (let row = 0; row < n; row++) {
      const at = lower[row].indexOf(wanted);
      if (at >= 0) found[at > 0 ? 2 : lower[row].length > wanted.length ? 1 : 0].push(row);
    }
    return found.flat();
  };
  const go = (row) => {
    if (!isShown(row)) { state.hidden.clear(); legend(); draw(); }
    if (flat) {
      const box = $("plot")._fullLayout;
      const reach = room * 1.5;
      const tall = reach * (box.height / box.width);
      Plotly.relayout("plot", { "xaxis.range": [axes[0][row] - reach, axes[0][row] + reach], "yaxis.range": [axes[1][row] - tall, axes[1][row] + tall] });
    }
    const box = $("plot").getBoundingClientRect();
    card(row, box.left + box.width / 2, box.top + box.height / 2);
  };
  const search = () => {
    state.hits = find($("search").value);
    const hits = state.hits;
    $("found").textContent = $("search").value ? (hits.length ? `${hits.length.toLocaleString("en")} found` : "not found") : "";
    $("hits").replaceChildren(...hits.slice(0, 30).map((row) => {
      const button = make("button");
      button.append(make("span", shown(labels[row]) || "(empty)", "name"));
      button.addEventListener("click", () => go(row));
      return button;
    }));
    $("results").hidden = !hits.length;
    $("card").hidden = true;
    mark();
  };
  let waiting = 0;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, n > 50000 ? 250 : 80); });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Escape") $("search").value = "";
    if (event.key !== "Enter" && event.key !== "Escape") return;
    clearTimeout(waiting);
    search();
    if (event.key === "Enter" && state.hits.length) go(state.hits[0]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== $("search")) { event.preventDefault(); $("search").focus(); }
  });

  // -- colour, filter, theme ------------------------------------------------------------------------------------------

  const choose = (id, allowed, chosen, changed) => {
    $(id).append(...[-1, ...allowed].map((j) => new Option(j < 0 ? "–" : shown(columns[j].name), j, false, j === chosen)));
    $(id).addEventListener("change", () => changed(Number($(id).value)));
    $(id).parentElement.hidden = !allowed.length;
  };
  const legend = () => {
    const column = columns[state.filter];
    $("classes").replaceChildren(...(column ? column.legend : []).map((one, group) => {
      const line = make("label");
      const box = make("input");
      box.type = "checkbox";
      box.checked = !state.hidden.has(group);
      box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](group); draw(); });
      const dot = make("span", undefined, "dot");
      dot.style.background = state.filter === state.colour ? one.colour : "none";
      line.append(box, dot, make("span", shown(one.name) || "(empty)", "name"), make("span", one.count.toLocaleString("en"), "quiet"));
      return line;
    }));
    $("every").hidden = !column;
  };
  const classy = [...columns.keys()].filter((j) => columns[j].names);
  choose("colour", [...columns.keys()], state.colour, (j) => {
    state.colour = j;
    if (columns[j]?.names && j !== state.filter) { state.filter = j; state.hidden.clear(); $("filter").value = j; }
    legend();
    draw();
  });
  choose("filter", classy, state.filter, (j) => { state.filter = j; state.hidden.clear(); legend(); draw(); });
  $("all").addEventListener("click", () => { state.hidden.clear(); legend(); draw(); });
  $("none").addEventListener("click", () => { columns[state.filter].legend.forEach((_, group) => state.hidden.add(group)); legend(); draw(); });
  const theme = (name) => { document.documentElement.dataset.theme = name; };
  theme(about.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => { theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); draw(); });

  // -- begin ----------------------------------------------------------------------------------------------------------

  if (about.report) {
    for (const row of about.report) {
      const line = make("tr");
      line.append(...row.cells.map((cell, j) => make(row.head || j === 0 ? "th" : "td", cell)));
      if (row.meaning) line.title = row.meaning;
      $("report").append(line);
    }
    $("faithful").hidden = false;
  }
  legend();
  await Plotly.newPlot("plot", traces(), layout(), config);
  $("plot").on("plotly_hover", (event) => {
    const point = event.points[0];
    const row = rowsOf[point.curveNumber]?.[point.pointNumber];
    if (row !== undefined) card(row, event.event?.clientX ?? pointer.x, event.event?.clientY ?? pointer.y);
  });
  if (flat) {
    mark();  // now that it is known where points lie on the screen
    $("plot").on("plotly_relayout", (event) => {
      if (Object.keys(event).some((key) => key.includes("range") || key.includes("size"))) mark();
    });
  }
  $("plot").on("plotly_unhover", () => { $("card").hidden = true; });
  document.documentElement.dataset.ready = "1";
})().catch((error) => {
  const place = document.getElementById("trouble");
  place.textContent = `This page could not be drawn: ${error.message}`;
  place.hidden = false;
  console.error(error);
});
