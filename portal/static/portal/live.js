// The page changes by itself: the server says when the balance or a payment has changed, and the parts that show them ask anew.
// Only while the page is looked at: a browser has six connections to a site, for all of its tabs.
"use strict";
(() => {
  const address = document.body.dataset.live;
  let source = null;
  let last = null;

  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("account", (event) => {
      if (last !== null && last !== event.data) document.body.dispatchEvent(new Event("credits-changed"));
      last = event.data;
    });
  };
  const stop = () => {
    if (source) source.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  window.addEventListener("pagehide", stop);
  if ("EventSource" in window) listen();
})();
