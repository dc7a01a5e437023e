// A list of any length with a bounded number of elements: rows of a fixed height, made once and filled again.
import { batched, h } from "./dom.js";

const OVERSCAN = 8;
const MAX_ROWS = 160;

export class VirtualList {
  /** fill(row, item) shows an item in a row's cells; `at(index)` gives the items. */
  constructor({ scroller, rowHeight, id, role, columns, fill, at }) {
    this.scroller = scroller;
    this.rowHeight = rowHeight;
    this.fill = fill;
    this.at = at;
    this.count = 0;
    this.version = 0;
    this.selected = null;
    this.pool = [];
    this.make = (slot) => {
      const cells = columns.map((name) =>
        h("div", { class: `cell ${name}`, role: role === "row" ? "gridcell" : null }),
      );
      const element = h("div", { class: "row", id: `${id}-${slot}`, role }, ...cells);
      return { element, cells, index: -1, item: null, version: -1, top: -1 };
    };
    this.space = h("div", { class: "space", role: "presentation" });
    scroller.append(this.space);
    this.renderSoon = batched(() => this.render());
    scroller.addEventListener("scroll", this.renderSoon, { passive: true });
    new ResizeObserver(this.renderSoon).observe(scroller);
  }

  setCount(count) {
    if (count !== this.count) {
      this.count = count;
      this.space.style.height = `${count * this.rowHeight}px`;
    }
  }

  /** Names or the like have changed: every row is filled again. */
  invalidate() {
    this.version += 1;
    this.renderSoon();
  }

  get atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return scrollTop + clientHeight >= scrollHeight - this.rowHeight;
  }

  get pageRows() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight) - 1);
  }

  toEnd() {
    this.scroller.scrollTop = this.count * this.rowHeight;
  }

  /** Bring a row into view with as little movement as can be. */
  show(index) {
    const top = index * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight)
      this.scroller.scrollTop = top + this.rowHeight - clientHeight;
  }

  /** The index of the row that an event happened at; -1 beside all rows. */
  indexOf(event) {
    const element = event.target.closest(".row");
    return this.pool.find((row) => row.element === element)?.index ?? -1;
  }

  /** The id of the element of an item that is in view. */
  idOf(item) {
    return this.pool.find((row) => row.item === item && !row.element.hidden)?.element.id ?? null;
  }

  render() {
    const { scrollTop, clientHeight } = this.scroller;
    const visible = Math.ceil(clientHeight / this.rowHeight) + 2 * OVERSCAN;
    const size = Math.min(Math.max(visible, 1), MAX_ROWS);
    while (this.pool.length < size) {
      this.pool.push(this.make(this.pool.length));
      this.space.append(this.pool.at(-1).element);
    }
    const begin = Math.max(
      0,
      Math.min(Math.floor(scrollTop / this.rowHeight) - OVERSCAN, this.count - this.pool.length),
    );
    const end = Math.min(this.count, begin + this.pool.length);
    for (const row of this.pool) row.wanted = false;
    for (let index = begin; index < end; index += 1) this.#place(this.pool[index % this.pool.length], index);
    for (const row of this.pool) {
      if (row.wanted) continue;
      row.element.hidden = true;
      row.index = -1;
      row.item = null;
    }
  }

  #place(row, index) {
    const item = this.at(index);
    row.wanted = true;
    if (row.item !== item || row.version !== this.version) {
      row.item = item;
      row.version = this.version;
      this.fill(row, item);
    }
    if (row.index !== index) {
      row.index = index;
      row.element.setAttribute("aria-rowindex", String(index + 2));
      row.element.style.transform = `translateY(${index * this.rowHeight}px)`;
    }
    row.element.hidden = false;
    const isSelected = item === this.selected;
    row.element.classList.toggle("selected", isSelected);
    row.element.setAttribute("aria-selected", String(isSelected));
  }
}
