"use strict";
// The board: search, filters that rank anew, sorting, columns, downloads. Its state is the address, so links survive.
// No statistics happen here: the p of every pair comes with the page, and Holm's correction is a sort and a product.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("board"), body = table.tBodies[0], said = document.getElementById("said");
  const facets = [...document.querySelectorAll("[data-facet]")], boxes = [...document.querySelectorAll("[data-show]")];
  const search = document.getElementById("q");
  const rows = [...body.rows].map((tr, i) => ({ tr, i, data: data.rows[i], text: tr.textContent.toLowerCase(),
    cells: Object.fromEntries([...tr.cells].map((cell) => [cell.dataset.col, cell])) }));
  const drawings = [...document.querySelectorAll("svg.plot")].map((svg) => ({ svg, down: svg.dataset.down === "1" ? 1 : -1,
    dots: [...svg.querySelectorAll("[data-row]")].map((dot) => ({ dot, on: true, id: dot.dataset.row, ranked: dot.dataset.ranked,
      at: [+dot.dataset.x, +dot.dataset.y] })) }));
  let place = 0;
  for (const row of rows) row.place = row.data.rank === null ? -1 : place++;
  const usual = data.columns.filter((column) => column.usual).map((column) => column.id);
  let state = {}, drawn = { sort: "" };

  // Ranks of some ranked rows, by their places in the triangle of p values: the rule of mibench.leaderboard.ranks.
  function ranks(places) {
    const found = new Map();
    for (let left = places; left.length;) {
      const [anchor, ...others] = left, family = left.length * (left.length - 1) / 2, rank = found.size + 1;
      const raised = holm(others.map((other) => data.pairs[other][anchor]), family);
      const apart = others.filter((_, i) => raised[i] < data.level);
      for (const one of left) if (!apart.includes(one)) found.set(one, rank);
      left = apart;
    }
    return found;
  }

  function holm(p, family) {
    const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b]), raised = [];
    let most = 0;
    order.forEach((i, k) => { most = Math.max(most, Math.min(1, (family - k) * p[i])); raised[i] = most; });
    return raised;
  }

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { q: given.get("q") ?? "", sort: given.get("sort") ?? "", cols: given.get("cols")?.split(",") ?? usual };
    for (const one of facets) state[one.dataset.facet] = given.get(one.dataset.facet) ?? "";
  }

  function write() {
    const to = new URLSearchParams();
    for (const one of facets) if (state[one.dataset.facet]) to.set(one.dataset.facet, state[one.dataset.facet]);
    if (state.q) to.set("q", state.q);
    if (state.sort) to.set("sort", state.sort);
    if (state.cols.join() !== usual.join()) to.set("cols", state.cols.join(","));
    history.replaceState(null, "", to.size ? `#${to}` : location.pathname + location.search);
    draw();
  }

  function draw() {
    search.value = state.q;
    for (const one of facets) one.value = state[one.dataset.facet];
    for (const box of boxes) box.checked = state.cols.includes(box.dataset.show);
    const kept = rows.filter((row) => facets.every(({ dataset: { facet } }) => !state[facet] || row.tr.dataset[facet] === state[facet]));
    const ranked = kept.filter((row) => row.place >= 0);
    const anew = data.pairs && kept.length < rows.length;
    const found = anew ? ranks(ranked.map((row) => row.place)) : null;
    for (const row of ranked) setRank(row, found ? found.get(row.place) : row.data.rank);
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set(kept.filter((row) => words.every((word) => row.text.includes(word))));
    for (const row of rows) if (row.tr.hidden === shown.has(row)) row.tr.hidden = !row.tr.hidden;
    if (drawn.sort !== state.sort || state.sort === "rank" || state.sort === "-rank") sort();
    rule();
    if (drawn.cols !== state.cols.join()) columns();
    drawn = { sort: state.sort, cols: state.cols.join() };
    plots(shown);
    const which = !anew && kept.length < rows.length ? "the whole board" : `the ${ranked.length} ranked rows${anew ? " that the filters leave" : ""}`;
    said.textContent = `${shown.size} of ${rows.length} rows. Ranks are among ${which}.`;
  }

  function setRank(row, rank) {
    if (row.rank === rank) return;
    row.rank = rank;
    row.cells.rank.textContent = rank;
    row.cells.rank.dataset.v = rank;
  }

  function columns() {
    const visible = new Set(["rank", "name", ...state.cols]);
    for (const tr of [...table.tHead.rows, ...body.rows]) for (const cell of tr.cells) {
      if (cell.hidden === visible.has(cell.dataset.col)) cell.hidden = !cell.hidden;
    }
  }

  function sort() {
    const down = state.sort.startsWith("-"), key = state.sort.replace(/^-/, "");
    const numeric = rows.some((row) => row.cells[key]?.classList.contains("num"));
    const values = rows.map((row) => row.cells[key]?.dataset.v).map((v) => (v !== undefined && numeric ? +v : v));
    const order = [...rows];
    if (key) order.sort((a, b) => {
      const x = values[a.i], y = values[b.i];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || a.i - b.i;
      const less = numeric ? x - y : x.localeCompare(y);
      return (down ? -less : less) || a.i - b.i;
    });
    body.remove(); // thousands of rows move faster where nothing lays them out
    body.replaceChildren(...order.map((row) => row.tr));
    table.append(body);
    for (const th of table.tHead.rows[0].cells) {
      if (th.dataset.col === key) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
  }

  function rule() { // a line between groups of one rank, where rows stand in the order of ranks
    let before;
    for (const tr of body.rows) {
      if (tr.hidden) continue;
      const rank = tr.cells[0].textContent, first = !state.sort && before !== undefined && before !== rank;
      if (tr.classList.contains("first") !== first) tr.classList.toggle("first");
      before = rank;
    }
  }

  function plots(shown) {
    const ids = new Set([...shown].map((row) => row.data.id));
    for (const { svg, down, dots } of drawings) {
      const points = [];
      for (const one of dots) {
        const on = ids.has(one.id);
        if (one.on !== on) one.dot.toggleAttribute("hidden", !(one.on = on));
        if (on && one.ranked) points.push(one.at);
      }
      points.sort((a, b) => b[0] - a[0] || down * (b[1] - a[1]));
      let path = "", best = -Infinity;
      for (const [x, y] of points) if (down * y > best) { path += path ? `H${x}V${y}` : `M${x} ${y}`; best = down * y; }
      svg.querySelector(".front").setAttribute("d", path);
    }
  }

  const visible = () => [...body.rows].filter((tr) => !tr.hidden).map((tr) => rows.find((row) => row.tr === tr));
  const chosen = () => data.columns.filter((column) => state.cols.includes(column.id));
  const safe = (value) => (typeof value === "string" && /^[=+\-@]/.test(value) ? `'${value}` : value ?? "");
  const quote = (value) => (/[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const wide = (id) => data.rows.some((row) => Array.isArray(row.values[id]));
  const tex = (text) => text.replace(/[\\~^&%$#_{}–−]/g, (char) => ({ "\\": "\\textbackslash{}", "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}", "–": "--", "−": "$-$" }[char] ?? `\\${char}`)).replaceAll("ε", "$\\varepsilon$").replaceAll("×", "$\\times$");

  const forms = {
    csv: ["text/csv", () => {
      const head = ["rank", "defense", ...chosen().flatMap(({ id }) => (wide(id) ? [id, `${id}_low`, `${id}_high`] : [id]))];
      const lines = visible().map((row) => [row.rank ?? "", row.data.name, ...chosen().flatMap(({ id }) => {
        const value = row.data.values[id];
        return wide(id) ? [0, 1, 2].map((i) => (Array.isArray(value) ? value[i] : i ? "" : value)) : [value];
      })]);
      return [head, ...lines].map((line) => line.map((value) => quote(safe(value))).join(",")).join("\n") + "\n";
    }],
    json: ["application/json", () => JSON.stringify({ protocol: data.protocol, digest: data.digest, headline: data.headline, attackers: data.attackers,
      address: location.href, rows: visible().map((row) => ({ rank: row.rank ?? null, id: row.data.id, defense: row.data.name,
        ...Object.fromEntries(chosen().map(({ id }) => [id, row.data.values[id]])) })) }, null, 1) + "\n"],
    latex: ["text/x-tex", () => {
      const columns = chosen(), cell = (td) => tex(td.textContent.trim().replace(/\s+/g, " ")).replace(/\[(.*)\]/, "{\\scriptsize [$1]}");
      const right = (id) => rows[0]?.cells[id].classList.contains("num");
      const lines = visible().map((row) => [row.cells.rank, row.cells.name, ...columns.map(({ id }) => row.cells[id])].map(cell).join(" & ") + " \\\\");
      return ["% \\usepackage{booktabs}", "\\begin{table}", `\\caption{${tex(`${data.protocol} (digest ${data.digest}); leakage is ${data.headline}, ${data.attackers}; brackets hold 95 % intervals over people`)}}`,
        `\\begin{tabular}{rl${columns.map(({ id }) => (right(id) ? "r" : "l")).join("")}}`, "\\toprule",
        ["rank", "defense", ...columns.map(({ title }) => tex(title))].join(" & ") + " \\\\", "\\midrule", ...lines,
        "\\bottomrule", "\\end{tabular}", "\\end{table}"].join("\n") + "\n";
    }],
    bibtex: ["text/x-bibtex", () => {
      const keys = new Set(visible().flatMap((row) => row.data.cites));
      return [...[...keys].map((key) => data.bibtex[key]), ...visible().map((row) => row.data.bibtex)].join("\n");
    }],
  };
  const endings = { csv: "csv", json: "json", latex: "tex", bibtex: "bib" };

  function save(form) {
    const [type, make] = forms[form], link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([make()], { type }));
    link.download = `${data.protocol}.${endings[form]}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const th of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const key = th.dataset.col;
      state.sort = state.sort === key ? `-${key}` : state.sort === `-${key}` ? "" : key;
      write();
    });
  }
  search.addEventListener("input", () => { state.q = search.value; write(); });
  for (const one of facets) one.addEventListener("change", () => { state[one.dataset.facet] = one.value; write(); });
  for (const box of boxes) box.addEventListener("change", () => {
    state.cols = data.columns.map((column) => column.id).filter((id) => boxes.find((one) => one.dataset.show === id).checked);
    write();
  });
  for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(button.dataset.save));
  document.getElementById("reset").addEventListener("click", () => { history.replaceState(null, "", location.pathname); read(); draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape") for (const open of document.querySelectorAll(".tools details[open]")) open.open = false;
  });
  addEventListener("hashchange", () => { read(); draw(); });
  document.getElementById("tools").hidden = false;
  read();
  draw();
})();
