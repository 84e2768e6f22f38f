"use strict";
// Follows a running session: the server says that something has changed, and what is shown is
// fetched again. Without this script the page is whole, as it was when it was opened.
(() => {
  const main = document.getElementById("content");
  const here = location.pathname.replace(/\/$/, "");
  let busy = false;
  let again = false;

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        const answer = await fetch(here + "/content" + location.search, { cache: "no-store" });
        if (answer.status === 404) return location.reload();
        if (answer.ok) show(await answer.text());
      } while (again);
    } catch {
      // The server is away; the stream below comes back and says so.
    } finally {
      busy = false;
    }
  }

  function show(html) {
    const page = document.scrollingElement;
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
    const open = new Map();
    for (const d of main.querySelectorAll("details[id]")) open.set(d.id, d.open);
    main.innerHTML = html;
    for (const d of main.querySelectorAll("details[id]")) {
      if (open.has(d.id)) d.open = open.get(d.id);
    }
    if (atEnd) page.scrollTop = page.scrollHeight;
  }

  const stream = new EventSource(here + "/events");
  stream.addEventListener("changed", refresh);
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) refresh();
  });
  stream.addEventListener("gone", () => {
    stream.close();
    location.reload();
  });
})();
