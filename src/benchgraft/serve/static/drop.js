/** Places where files can be dropped; elsewhere on the page a drop must not lead away from it. */

/** dropped(transfer, target) for files that are dropped in a place. */
export function dropPlace(place, dropped) {
  let depth = 0;
  const lift = (count) => {
    depth = Math.max(0, count);
    place.classList.toggle("over", depth > 0);
  };
  place.addEventListener("dragenter", (event) => hasFiles(event) && lift(depth + 1));
  place.addEventListener("dragleave", (event) => hasFiles(event) && lift(depth - 1));
  place.addEventListener("drop", (event) => {
    lift(0);
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    dropped(event.dataTransfer, event.target);
  });
}

/** Files dropped anywhere else go to dropped(transfer, target) too. */
export function dropElsewhere(dropped) {
  window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  dropPlace(document.documentElement, dropped);
}

function hasFiles(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}
