/* The filters and the address of a page are one: what is chosen goes into the address, and the address into the filters. */
(function () {
  "use strict";
  const NAMES = ["from", "to", "grain", "channel", "segment", "user"];
  const SELECTS = ["grain", "channel", "segment"];
  const KEPT = "sojourn-filters";

  function unchosen(name) {
    return SELECTS.includes(name) ? "all" : "";
  }

  function read(query) {
    const given = new URLSearchParams(query);
    return NAMES.map((name) => given.get(name) || unchosen(name));
  }

  function write(values) {
    const query = new URLSearchParams();
    NAMES.forEach((name, at) => {
      if (values[at] && values[at] !== unchosen(name)) query.set(name, values[at]);
    });
    return query.toString();
  }

  /* Another page is a click on a link of Vizro's, which knows nothing of filters: the session remembers them. */
  function remembered() {
    const query = window.location.search.slice(1);
    return query || window.sessionStorage.getItem(KEPT) || "";
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    sojourn: {
      restore: function () {
        const here = document.querySelector("#nav-bar a.active");
        if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
        const context = window.dash_clientside.callback_context;
        const cleared = context.triggered.some((each) => each.prop_id === "filter-clear.n_clicks" && each.value);
        return cleared ? NAMES.map(unchosen) : read(remembered());
      },
      changed: function (...values) {
        const query = write(values);
        const address = window.location.pathname + (query ? "?" + query : "") + window.location.hash;
        window.sessionStorage.setItem(KEPT, query);
        window.history.replaceState(window.history.state, "", address);
        return query;
      },
    },
  });

  document.addEventListener("submit", function (event) {
    if (event.target.id === "filter-form") event.preventDefault();
  });
})();
