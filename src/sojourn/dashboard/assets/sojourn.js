/* The filters and the address of a page are one: what is chosen goes into the address, and the address into the filters. */
(function () {
  "use strict";
  const NAMES = ["board", "from", "to", "grain", "channel", "segment", "user"];
  const SELECTS = ["board", "grain", "channel", "segment"];

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

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    sojourn: {
      restore: function () {
        const header = document.getElementById("header");
        if (header) header.setAttribute("role", "banner");
        const here = document.querySelector("#nav-bar a.active");
        if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
        const context = window.dash_clientside.callback_context;
        const cleared = context.triggered.some((each) => each.prop_id === "filter-clear.n_clicks" && each.value);
        return cleared ? NAMES.map(unchosen) : read(window.location.search);
      },
      changed: function (...values) {
        const query = write(values);
        const address = window.location.pathname + (query ? "?" + query : "") + window.location.hash;
        const before = new URLSearchParams(window.location.search).get("board");
        if (before !== new URLSearchParams(query).get("board")) {
          window.location.assign(address); // another board has other channels and segments to choose from
          return window.dash_clientside.no_update;
        }
        window.history.replaceState(window.history.state, "", address);
        const shown = document.querySelector("#page-body [data-query]");
        return shown && shown.dataset.query === query ? window.dash_clientside.no_update : query;
      },
    },
  });

  /* A link of Vizro's leads to a page without filters: they come along. */
  document.addEventListener(
    "click",
    function (event) {
      const link = event.target.closest("#nav-bar a");
      const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
      if (!link || !plain || !window.location.search) return;
      event.preventDefault();
      event.stopPropagation();
      window.history.pushState({}, "", link.pathname + window.location.search);
      window.dispatchEvent(new PopStateEvent("popstate"));
      window.scrollTo(0, 0);
    },
    true,
  );

  /* Charts: those in the window are drawn first, the others when there is nothing else to do. */
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
  let plotly = null;
  function withPlotly() {
    plotly ||= new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = document.getElementById("sj-plotly").href;
      script.onload = () => done(window.Plotly);
      script.onerror = fail;
      document.head.append(script);
    });
    return plotly;
  }
  /* Plotly takes long to start: it does while the server makes the page, so right after that has been asked for. */
  const ask = window.fetch;
  window.fetch = function (...asked) {
    const answer = ask.apply(this, asked);
    if (String(asked[0].url || asked[0]).includes("_dash-update-component")) setTimeout(withPlotly);
    return answer;
  };
  function draw(box, Plotly) {
    const told = box.dataset.figure;
    if (box.told === told || !box.isConnected) return;
    box.told = told;
    const figure = JSON.parse(told);
    figure.layout.template = JSON.parse(document.getElementById("sj-look").dataset.look);
    Plotly.react(box, figure.data, figure.layout, CONFIG).then(() => (box.painted = told));
  }
  const idle = window.requestIdleCallback || ((then) => setTimeout(then, 50));
  function isSeen(box) {
    const place = box.getBoundingClientRect();
    return place.top < window.innerHeight && place.bottom > 0;
  }
  function drawAll() {
    const boxes = Array.from(document.querySelectorAll(".sj-plot")).filter((box) => box.told !== box.dataset.figure);
    if (!boxes.length) return;
    withPlotly().then((Plotly) => {
      boxes.filter(isSeen).forEach((box) => draw(box, Plotly));
      const rest = boxes.filter((box) => !isSeen(box));
      const next = () => {
        const box = rest.shift();
        if (!box) return;
        draw(box, Plotly);
        idle(next);
      };
      idle(next);
    });
  }

  /* A key of the legend hides what it stands for, and shows it again. */
  document.addEventListener("click", function (event) {
    const key = event.target.closest(".sj-key");
    if (!key) return;
    const plot = key.closest(".sj-panel").querySelector(".js-plotly-plot");
    if (!plot || !window.Plotly) return;
    const shown = key.getAttribute("aria-pressed") !== "true";
    const named = (trace) => (trace.legendgroup || trace.name) === key.dataset.group;
    const places = plot.data.map((trace, at) => (named(trace) ? at : -1)).filter((at) => at >= 0);
    key.setAttribute("aria-pressed", String(shown));
    window.Plotly.restyle(plot, { visible: shown }, places);
  });

  /* A table wider than its panel says so, as a phone shows no scroll bar. */
  function look() {
    drawAll();
    for (const table of document.querySelectorAll(".sj-table")) {
      const hidden = table.scrollWidth - table.clientWidth - table.scrollLeft;
      table.classList.toggle("sj-wide", table.scrollWidth > table.clientWidth + 1);
      table.classList.toggle("sj-more", hidden > 4);
    }
  }
  let waiting = 0;
  function soon() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(look);
  }
  window.addEventListener("resize", soon);
  document.addEventListener("scroll", soon, true);
  new MutationObserver(soon).observe(document.documentElement, {
    attributeFilter: ["data-figure"],
    childList: true,
    subtree: true,
  });

  document.addEventListener("submit", function (event) {
    if (event.target.id === "filter-form") event.preventDefault();
  });
})();
