// What pages do beyond what the server has drawn: times of the viewer's zone, keys, copies, fresh figures.
"use strict";

const REFRESH = 5000; // milliseconds

const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" });
const exact = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "long" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    const utc = date.toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC");
    if (time.classList.contains("ago")) {
      time.title = `${exact.format(date)} (${utc})`;
    } else {
      time.title = utc;
      time.textContent = local.format(date);
    }
  }
}

function offerCopies(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(source.value);
      button.textContent = "Copied";
    });
  }
}

// What a button of a form has made by the server, where there is no script.
function makeHere(root) {
  for (const button of root.querySelectorAll("[data-make]")) {
    button.addEventListener("click", (event) => {
      const box = document.getElementById(button.dataset.make);
      event.preventDefault();
      box.value = crypto.randomUUID();
      box.focus();
    });
  }
}

// Pages whose figures move have a part that says so; it is fetched anew while somebody looks at it.
async function refresh(part) {
  if (document.hidden || part.matches(":focus-within, :active") || String(getSelection())) {
    return;
  }
  const answer = await fetch(location.href, { headers: { "X-Refresh": "yes" } });
  if (answer.redirected) {
    location.reload();
    return;
  }
  const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
  if (fresh) {
    showTimes(fresh);
    part.replaceChildren(...fresh.childNodes);
  }
}

function onKey(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
  const menu = document.querySelector("details.menu[open]");
  if (event.key === "Escape" && menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = menu.contains(event.target);
  }
});
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
showTimes(document);
offerCopies(document);
makeHere(document);
for (const part of document.querySelectorAll("[data-live]")) {
  setInterval(() => refresh(part).catch(() => {}), REFRESH);
}
