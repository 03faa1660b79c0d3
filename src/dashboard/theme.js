// The colours that the reader has chosen, in force before anything is drawn.
(() => {
  const root = document.documentElement;
  let kept = 'auto';
  // A browser may refuse its storage to a page.
  try { kept = localStorage.getItem('stentor-theme') ?? 'auto'; } catch { /* Then it is not kept. */ }
  root.dataset.theme = kept;
  document.addEventListener('DOMContentLoaded', () => {
    const select = document.getElementById('theme');
    select.value = root.dataset.theme;
    if (select.selectedIndex < 0) select.value = root.dataset.theme = 'auto';
    select.addEventListener('change', () => {
      root.dataset.theme = select.value;
      try { localStorage.setItem('stentor-theme', select.value); } catch { /* As above. */ }
      document.dispatchEvent(new Event('colours'));
    });
  });
  matchMedia('(prefers-color-scheme: dark)')
    .addEventListener('change', () => document.dispatchEvent(new Event('colours')));
})();
