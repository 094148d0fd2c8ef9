// Comfort for people with script: every page works without it, nothing here decides anything.
// What the markup asks for:
//   data-copy                         on a button: copies the .copy-text beside it
//   data-live="URL" (+ id)            block replaced when the server-sent events of URL say so; falls back to fetching
//   data-live-poll="URL" data-seconds block replaced by fetching
//   data-estimate-url="URL"           on a form: posts it after a change and replaces each [data-part] that was not changed
//   data-tabs / data-panel="id"       wizard tabs: buttons show one panel at a time
//   data-address="URL"                the address of an answer to a post: going back or reloading asks there
//   data-confirm-name="shop"          on an input: its form's [data-confirmed] button opens when it matches

const policy = window.trustedTypes
  ? window.trustedTypes.createPolicy("pgflex", { createHTML: (text) => text })
  : { createHTML: (text) => text };

const parse = (text) => new DOMParser().parseFromString(policy.createHTML(text), "text/html");

// ---------- the reader's own time zone beside UTC ----------

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.dataset.local = "";
    const full = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    time.title = `${full} (${zone})`;
    if ("short" in time.dataset || date.getTimezoneOffset() === 0) continue;
    const beside = document.createElement("span");
    beside.className = "local-time";
    beside.textContent = ` (${date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })} here)`;
    time.append(beside);
  }
}

// ---------- strips of entries: where there is no room for all, the one of this page is in sight ----------

for (const here of document.querySelectorAll("nav [aria-current]")) {
  const strip = here.closest("nav");
  const [entry, room] = [here.getBoundingClientRect(), strip.getBoundingClientRect()];
  if (entry.right > room.right - 40) strip.scrollLeft += entry.left - room.left - (room.width - entry.width) / 2;
}

// ---------- copy ----------

function openCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy][hidden]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const text = button.parentElement.querySelector(".copy-text").textContent;
  const label = button.dataset.label || (button.dataset.label = button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy by hand";
  }
  announce(button.textContent);
  setTimeout(() => { button.textContent = label; }, 2000);
}

let announcer;
function announce(text) {
  if (!announcer) {
    announcer = document.createElement("div");
    announcer.className = "visually-hidden";
    announcer.setAttribute("role", "status");
    document.body.append(announcer);
  }
  announcer.textContent = text;
}

// ---------- live parts ----------

// Brings the block to its new form in place, so that focus, selection, scroll and open details stay.
// What a reader hears is one sentence, and only when it changed.
function replace(old, fresh) {
  const said = old.dataset.announce;
  const hadFocus = old.contains(document.activeElement);
  const logs = [...old.querySelectorAll(".log[data-follow]")].filter(
    (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 24);
  enhance(fresh);
  const now = morph(old, fresh);
  // A button that is gone must not take the keyboard's place with it.
  if (hadFocus && !now.contains(document.activeElement)) now.querySelector("[data-refocus]")?.focus();
  for (const log of logs) log.scrollTop = log.scrollHeight;
  for (const log of now.querySelectorAll(".log[data-follow]:not([data-followed])")) follow(log);
  if (now.dataset.announce && now.dataset.announce !== said) announce(now.dataset.announce);
}

// A log begins at its end.
function follow(log) {
  log.dataset.followed = "";
  log.scrollTop = log.scrollHeight;
}

function show(id, html) {
  const old = document.getElementById(id);
  const fresh = parse(html).getElementById(id);
  if (old && fresh) replace(old, document.adoptNode(fresh));
  return fresh;
}

// Events: the data is the block's HTML; "done" ends it, with a page to go to in its data if any.
function live(block) {
  const { id } = block;
  const source = new EventSource(block.dataset.live);
  let failures = 0;
  source.addEventListener("message", (event) => { failures = 0; show(id, event.data); });
  source.addEventListener("done", (event) => {
    source.close();
    if (event.data && event.data.startsWith("/")) location.assign(event.data);
  });
  source.addEventListener("error", () => {
    failures += 1;
    if (failures < 3 && source.readyState !== EventSource.CLOSED) return;
    source.close();
    poll(id, location.href, 3);
  });
  addEventListener("pagehide", () => source.close());
}

// Fetching: asks again while the block still wants it.
function poll(id, url, seconds) {
  const again = () => setTimeout(ask, seconds * 1000);
  const ask = async () => {
    const block = document.getElementById(id);
    if (!block || !(block.dataset.live || block.dataset.livePoll)) return;
    const selection = getSelection();
    const isRead = !selection.isCollapsed && block.contains(selection.anchorNode);
    if (document.hidden || isRead) { again(); return; }
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) show(id, await answer.text());
    } catch { /* the next try may reach it */ }
    again();
  };
  again();
}

const watched = new Set();
function watch(root) {
  const blocks = [...root.querySelectorAll("[data-live], [data-live-poll]")];
  if (root.matches?.("[data-live], [data-live-poll]")) blocks.push(root);
  for (const block of blocks) {
    if (!block.id || watched.has(block.id)) continue;
    watched.add(block.id);
    if (block.dataset.live) live(block);
    else poll(block.id, block.dataset.livePoll, Number(block.dataset.seconds) || 5);
  }
}

// ---------- estimate ----------

function estimate(form) {
  let timer;
  let running;
  const ask = async (changed) => {
    running = new AbortController();
    const body = new FormData(form);
    for (const name of [...body.keys()]) if (name.includes("password")) body.delete(name);
    try {
      const answer = await fetch(form.dataset.estimateUrl, {
        method: "POST",
        body: new URLSearchParams(body),
        credentials: "same-origin",
        signal: running.signal,
      });
      if (answer.ok) showParts(await answer.text(), changed);
    } catch { /* a newer change asks again */ }
  };
  form.addEventListener("input", ({ target }) => {
    if (target.type === "password") return;
    // An older answer must not undo this change.
    running?.abort();
    clearTimeout(timer);
    timer = setTimeout(ask, target.type === "radio" ? 0 : 250, target);
  });
}

// Every part of the answer but the one that the person is in.
function showParts(html, changed) {
  for (const fresh of parse(html).querySelectorAll("[data-part][id]")) {
    const old = document.getElementById(fresh.id);
    if (old && !old.contains(changed)) replace(old, document.adoptNode(fresh));
  }
}

// ---------- wizard tabs: without script all panels are shown one below the other ----------

function tabs(list) {
  const all = [...list.querySelectorAll("[data-panel]")];
  const panel = (tab) => document.getElementById(tab.dataset.panel);
  const choose = (chosen, focus) => {
    for (const tab of all) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.removeAttribute("aria-current");
      tab.tabIndex = on ? 0 : -1;
      panel(tab).hidden = !on;
    }
    // The form knows where its person is, for the button that Return presses.
    const place = chosen.form?.elements.namedItem("tab");
    if (place) place.value = chosen.value.replace("tab:", "");
    if (focus) chosen.focus();
  };
  list.hidden = false;
  list.setAttribute("role", "tablist");
  for (const [at, tab] of all.entries()) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", tab.dataset.panel);
    tab.id ||= `tab-${tab.dataset.panel}`;
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", (event) => { event.preventDefault(); choose(tab); });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      choose(all[(at + step + all.length) % all.length], true);
    });
  }
  const bad = all.find((tab) => panel(tab).querySelector(".field-bad"));
  choose(all.find((tab) => tab.hasAttribute("data-chosen")) || bad || all[0]);
  for (const next of document.querySelectorAll("[data-next]")) {
    next.hidden = false;
    next.addEventListener("click", () => {
      const tab = all.find((candidate) => candidate.dataset.panel === next.dataset.next);
      if (tab) { choose(tab, true); scrollTo({ top: 0 }); }
    });
  }
  // A link to a field in another panel opens that panel first.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#f-"]');
    const field = link && document.getElementById(link.hash.slice(1));
    const tab = field && all.find((candidate) => panel(candidate).contains(field));
    if (tab) choose(tab);
  });
}

// ---------- type the name to go on ----------

function confirmName(input) {
  const button = input.form.querySelector("[data-confirmed]");
  const check = () => { button.disabled = input.value.trim() !== input.dataset.confirmName; };
  input.addEventListener("input", check);
  check();
}

// ---------- start ----------

function enhance(root) {
  localise(root);
  openCopyButtons(root);
  watch(root);
}

enhance(document);
document.querySelectorAll("form[data-estimate-url]").forEach(estimate);
document.querySelectorAll("[data-tabs]").forEach(tabs);
document.querySelectorAll("[data-confirm-name]").forEach(confirmName);
document.querySelectorAll(".log[data-follow]").forEach(follow);

const answered = document.querySelector("[data-address]");
if (answered) history.replaceState(null, "", answered.dataset.address);

// A form is sent once; the button says that it is on its way.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// The account menu closes on Escape and on a click elsewhere.
const menu = document.querySelector("details.menu");
document.addEventListener("click", (event) => { if (menu?.open && !menu.contains(event.target)) menu.open = false; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu?.open) { menu.open = false; menu.querySelector("summary").focus(); } });
