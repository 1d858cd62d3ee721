"use strict";
(() => {
  const root = document.documentElement;

  const theme = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const setTheme = (name) => {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    theme.querySelector("span").textContent = name;
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = root.dataset.theme || "system";
    setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
  });

  for (const section of document.querySelectorAll("[data-cases]")) {
    const form = section.querySelector(".filters");
    const rows = [...section.querySelectorAll("tbody tr")];
    const shown = section.querySelector(".shown");
    const apply = () => {
      const wanted = new FormData(form);
      let count = 0;
      for (const row of rows) {
        const group = wanted.get("group");
        let fits = group === "all" || row.dataset.group === group;
        for (const name of ["kind", "precision", "mode", "workers"]) {
          const value = wanted.get(name);
          fits = fits && (!value || row.dataset[name] === value);
        }
        fits = fits && row.dataset.name.includes(wanted.get("name").trim().toLowerCase());
        row.hidden = !fits;
        count += fits ? 1 : 0;
      }
      shown.textContent = `${count} of ${rows.length} cases`;
    };
    form.hidden = false;
    for (const kind of ["input", "change"]) form.addEventListener(kind, apply);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  for (const compare of document.querySelectorAll(".compare")) {
    const slide = compare.querySelector(".slide");
    const input = slide.querySelector("input");
    const image = compare.querySelector("img");
    const cut = () => {
      compare.style.setProperty("--cut", `${100 - input.value}%`);
    };
    const measure = () => {
      compare.style.setProperty("--high", `${image.clientHeight}px`);
    };
    compare.classList.add("live");
    slide.hidden = false;
    input.addEventListener("input", cut);
    image.addEventListener("load", measure);
    new ResizeObserver(measure).observe(image);
    let dragging = false;
    const drag = (event) => {
      if (!dragging) return;
      const box = image.getBoundingClientRect();
      input.value = 100 - Math.round((100 * (event.clientX - box.left)) / box.width);
      cut();
    };
    for (const frame of compare.querySelectorAll(".frame")) {
      frame.addEventListener("pointerdown", (event) => {
        dragging = true;
        frame.setPointerCapture(event.pointerId);
        drag(event);
        event.preventDefault();
      });
      frame.addEventListener("pointermove", drag);
      frame.addEventListener("pointerup", () => { dragging = false; });
      frame.addEventListener("pointercancel", () => { dragging = false; });
    }
    cut();
    measure();
  }

  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.more")) details.open = true;
  });
})();
