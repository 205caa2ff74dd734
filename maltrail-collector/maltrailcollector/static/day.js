// The events of one day, the newest first, followed as they come. What an event holds is hostile: it becomes
// text, never markup.
"use strict";

const page = document.getElementById("day");
const table = document.getElementById("events");
const body = table.tBodies[0];
const filter = document.getElementById("filter");
const severities = [...document.querySelectorAll("[data-severity]")];
const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
const most = Number(page.dataset.most);

let total = 0;
let shown = []; // {row, severity, text}, the newest first

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

// Address and port; each is a comma list in an event that sums up several.
function endpoint(address, port) {
  const several = address.includes(",");
  const host = address.includes(":") && !several && port !== "-" ? `[${address}]` : address;
  const parts = [element("span", "address", host.replaceAll(",", ", "))];
  const between = several ? " port " : ":";
  if (port !== "-") parts.push(element("span", "port", between + port.replaceAll(",", ", ")));
  return parts;
}

function time(text) {
  const [day, clock] = text.split(" ");
  const made = element("time", "", (day === page.dataset.day ? "" : `${day} `) + clock.slice(0, 8));
  made.title = `${text} by the clock of the sensor`;
  return made;
}

// The cells of an event, in the order of the table's head.
function cells(event) {
  return [
    [time(event.time)],
    [element("span", `severity ${event.severity}`, event.severity)],
    endpoint(event.src_ip, event.src_port),
    endpoint(event.dst_ip, event.dst_port),
    [event.proto],
    [event.type],
    [element("span", "trail", event.trail)],
    [event.info],
    [event.reference],
    [event.sensor],
  ];
}

function entry(event) {
  const row = document.createElement("tr");
  cells(event).forEach((content, column) => {
    const cell = row.insertCell();
    cell.dataset.label = labels[column];
    const box = element("div", "value", "");
    box.append(...content);
    cell.append(box);
  });
  const text = Object.values(event).join(" ").toLowerCase();
  return { row, severity: event.severity, text };
}

function add(events) {
  const entries = events.slice(-most).map(entry).reverse();
  if (shown.length) entries.forEach((added) => added.row.classList.add("new"));
  entries.forEach(sift(wanted()));
  body.prepend(...entries.map((added) => added.row));
  shown = [...entries, ...shown];
  shown.splice(most).forEach((old) => old.row.remove());
}

// Whether an entry has all words of the filter and a severity that is not switched off.
function wanted() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const on = new Set(severities.filter(isOn).map((button) => button.dataset.severity));
  return (candidate) => on.has(candidate.severity) && words.every((word) => candidate.text.includes(word));
}

function sift(isWanted) {
  return (candidate) => {
    candidate.row.hidden = !isWanted(candidate);
  };
}

function isOn(button) {
  return button.getAttribute("aria-pressed") === "true";
}

function number(value) {
  return value.toLocaleString("en");
}

function summarise() {
  document.getElementById("total").textContent = number(total);
  document.getElementById("empty").hidden = total > 0;
  table.hidden = total === 0;
  for (const button of severities) {
    const count = shown.filter((one) => one.severity === button.dataset.severity).length;
    button.querySelector("b").textContent = number(count);
  }
  const visible = shown.filter((one) => !one.row.hidden).length;
  const parts = [];
  if (visible < shown.length) parts.push(`${number(visible)} match`);
  if (shown.length < total) parts.push(`the newest ${number(shown.length)} are here, the log has all`);
  document.getElementById("shown").textContent = parts.join("; ");
}

function refilter() {
  shown.forEach(sift(wanted()));
  summarise();
}

function tell(state) {
  const place = document.getElementById("state");
  place.textContent = state;
  place.dataset.state = state;
}

function follow() {
  const source = new EventSource(`/live?date=${page.dataset.day}`);
  source.onopen = () => tell("live");
  source.onmessage = (message) => {
    const news = JSON.parse(message.data);
    total = news.total;
    add(news.events);
    summarise();
  };
  source.addEventListener("midnight", () => {
    document.getElementById("midnight").hidden = false;
  });
  source.onerror = () => {
    tell("reconnecting");
    // The browser tries again by itself unless it was told that the session has ended.
    if (source.readyState === EventSource.CLOSED) location.assign("/login");
  };
}

filter.addEventListener("input", refilter);
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  filter.value = "";
  refilter();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input")) return;
  event.preventDefault();
  filter.focus();
});
for (const button of severities) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(!isOn(button)));
    refilter();
  });
}
follow();
