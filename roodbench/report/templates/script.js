"use strict";
(function () {
  const many = 8;

  function textOf(cell) {
    return cell.firstChild ? cell.firstChild.textContent.trim() : "";
  }

  function linesOf(place) {
    return [...place.rows].filter((line) => line.parentElement.tagName === "TBODY" && line.className !== "heading");
  }

  function valueOf(cell) {
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const number = parseFloat(textOf(cell));
    return Number.isNaN(number) ? null : number;
  }

  function compare(one, other, numeric) {
    if (!numeric) return textOf(one).localeCompare(textOf(other), "en", { numeric: true });
    const a = valueOf(one), b = valueOf(other);
    if (a === null || b === null) return (a === null) - (b === null);
    return a - b;
  }

  function sort(table, place, descending) {
    const kind = table.tHead.rows[0].cells[place].className;
    for (const body of table.tBodies) {
      const lines = linesOf(body);
      const numeric = kind === "number" || lines.some((line) => line.cells[place].dataset.v !== undefined);
      lines.sort((one, other) => (descending ? -1 : 1) * compare(one.cells[place], other.cells[place], numeric));
      body.append(...lines);
    }
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      if (at === place) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (head.classList.contains("drawing")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(table, place, now ? now === "ascending" : head.classList.contains("number"));
      });
      head.replaceChildren(button);
    });
  }

  function field(words, control) {
    const label = document.createElement("label");
    label.append(words, control);
    return label;
  }

  function chooser(values, first) {
    const select = document.createElement("select");
    for (const value of ["", ...values]) {
      const option = new Option(value || "all", value);
      option.selected = value === first;
      select.append(option);
    }
    return select;
  }

  function filterable(table) {
    const lines = linesOf(table);
    if (lines.length < many) return;
    const form = document.createElement("form");
    form.className = "filter";
    form.setAttribute("aria-label", "Filter: " + table.caption.textContent);
    form.addEventListener("submit", (event) => event.preventDefault());
    const search = document.createElement("input");
    search.type = "search";
    const choices = [], count = document.createElement("output");
    form.append(field("Find", search));
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (head.dataset.choice === undefined) return;
      const values = [...new Set(lines.map((line) => textOf(line.cells[place])))];
      if (values.length < 2) return;
      const select = chooser(values, head.dataset.choice);
      choices.push([place, select]);
      form.append(field(head.textContent, select));
    });
    form.append(count);

    function apply() {
      const words = search.value.trim().toLowerCase();
      let shown = 0;
      for (const line of lines) {
        const found = !words || [...line.cells].some((cell) => cell.textContent.toLowerCase().includes(words));
        line.hidden = !(found && choices.every(([place, select]) => !select.value || textOf(line.cells[place]) === select.value));
        shown += !line.hidden;
      }
      for (const heading of table.querySelectorAll("tr.heading")) {
        heading.hidden = !heading.parentElement.querySelector("tr:not(.heading):not([hidden])");
      }
      count.textContent = shown + " of " + lines.length + " lines";
    }

    form.addEventListener("input", apply);
    const sheet = table.parentElement;
    sheet.parentElement.insertBefore(form, sheet);
    apply();
  }

  for (const table of document.querySelectorAll("main table")) {
    filterable(table);
    sortable(table);
  }

  const opened = [];
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not([open])")) { fold.open = true; opened.push(fold); }
  });
  addEventListener("afterprint", () => {
    while (opened.length) opened.pop().open = false;
  });
})();
