//! What a tab (`sessionStorage`) or the browser (`localStorage`) remembers of the page.

// Storage may be forbidden or full; the page then simply forgets.
export const recall = (store, key) => {
  try { return window[store].getItem(`stentor.${key}`); } catch { return null; }
};
export const keep = (store, key, value) => {
  try { window[store].setItem(`stentor.${key}`, value); return true; } catch { return false; }
};
