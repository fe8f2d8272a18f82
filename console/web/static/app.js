// What pages do by themselves: times that go on, copying, whether what is shown is live, and the way in of `pgfleet up`.
"use strict";

// Times: as `look/words.py` writes them.
function lasting(seconds) {
  const whole = Math.floor(seconds);
  const two = (large, largeUnit, small, smallUnit) => {
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${largeUnit}` + (rest ? ` ${rest} ${smallUnit}` : "");
  };
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86400) return two(3600, "h", 60, "min");
  return two(86400, "d", 3600, "h");
}

function relative(moment) {
  const seconds = (moment - Date.now()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${lasting(seconds)}` : `${lasting(-seconds)} ago`;
}

function tick() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = Date.parse(time.dateTime);
    const text = "goesOn" in time.dataset ? `for ${lasting(Math.max(0, Date.now() - moment) / 1000)}` : relative(moment);
    if (time.textContent !== text) time.textContent = text;
  }
  tellFreshness();
}

// Live or not: the stream says so every ten seconds; what is older than that is told, with its age.
const SILENT_MS = 25000;
const live = { heardAt: Date.now(), isCut: false, isStale: false };

function tellFreshness() {
  const line = document.getElementById("freshness");
  if (!line || line.dataset.live !== "yes") return;
  const isSilent = Date.now() - live.heardAt > SILENT_MS && !document.hidden;
  const why = live.isStale ? "The database does not answer"
    : live.isCut ? "The server does not answer"
    : isSilent ? "Nothing has come for a while" : "";
  line.hidden = why === "";
  if (why) line.textContent = `▲ ${why}: what you see is ${lasting((Date.now() - live.heardAt) / 1000)} old. It goes on by itself.`;
}

function heard() {
  live.heardAt = Date.now();
  live.isCut = false;
  tellFreshness();
}

const stream = document.getElementById("live");
if (stream) {
  stream.addEventListener("beat", () => { if (!live.isStale) heard(); });
  stream.addEventListener("fresh", () => { live.isStale = false; heard(); });
  stream.addEventListener("stale", () => { live.isStale = true; tellFreshness(); });
  stream.addEventListener("gone", () => location.reload());
  document.addEventListener("htmx:sse:after:message", () => { if (!live.isStale) heard(); tick(); showWhereOneIs(); });
  document.addEventListener("htmx:sse:error", () => { live.isCut = true; tellFreshness(); });
  document.addEventListener("htmx:sse:close", () => { live.isCut = true; tellFreshness(); });
  document.addEventListener("htmx:sse:after:connection", () => { live.isCut = false; });
  // A first connection that fails is not tried again by htmx: the page is asked for anew once the server is there.
  setInterval(() => {
    if (document.hidden || Date.now() - live.heardAt < SILENT_MS) return;
    fetch("/livez", { cache: "no-store" }).then((reply) => { if (reply.ok && live.isCut) location.reload(); }, () => {});
  }, 5000);
}

// A browser has six connections to a server for all of its pages. htmx lets go of the stream of a page that is put behind
// others; one that is opened there has none before somebody looks.
if (stream && document.hidden) {
  const address = stream.getAttribute("hx-sse:connect");
  stream.removeAttribute("hx-sse:connect");
  document.addEventListener("visibilitychange", () => {
    stream.setAttribute("hx-sse:connect", address);
    htmx.process(stream);
  }, { once: true });
}

// On a narrow screen the menu, and a machine, go on to the side: they begin where one is.
const begun = new WeakSet();
function showWhereOneIs() {
  for (const [frame, here] of [["nav", "[aria-current]"], [".scroll", ".machine .current"]]) {
    const found = document.querySelector(`${frame} ${here}`);
    const around = found && found.closest(frame);
    if (!around || begun.has(around)) continue;
    begun.add(around);
    const [inner, outer] = [found.getBoundingClientRect(), around.getBoundingClientRect()];
    around.scrollLeft = inner.left - outer.left - (outer.width - inner.width) / 2;
  }
}
showWhereOneIs();

// Copying, where the browser lets us; else the text is selected.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  const from = button && document.getElementById(button.dataset.copy);
  if (!from) return;
  const copied = navigator.clipboard ? navigator.clipboard.writeText(from.textContent) : Promise.reject();
  copied.then(() => { button.textContent = "Copied"; }, () => {
    getSelection().selectAllChildren(from);
    button.textContent = "Selected: press Ctrl-C";
  });
});

// A box that ticks all of its form's.
document.addEventListener("change", (event) => {
  const name = event.target.dataset.ticks;
  if (!name) return;
  for (const box of event.target.form.querySelectorAll(`input[type=checkbox][name="${name}"]`)) box.checked = event.target.checked;
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

// `pgfleet up` opens /sign-in#key=...: what is behind the # reaches no server and no log.
function enterWithKey() {
  const form = document.getElementById("with-key");
  if (!form || !location.hash.startsWith("#key=")) return;
  form.elements.key.value = decodeURIComponent(location.hash.slice(5));
  history.replaceState(null, "", location.pathname + location.search);
  form.requestSubmit();
}
enterWithKey();
// Where the page is open already, the link changes nothing but what is behind the #.
addEventListener("hashchange", enterWithKey);

tick();
setInterval(tick, 1000);
