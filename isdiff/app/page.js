// Undo and clear of the editor end at the photograph: gradio keeps it in the same history as the strokes.
() => document.addEventListener('click', event => {
  const panel = event.target.closest?.('#editor .top-panel');
  if (!panel) return;
  const at = [...panel.querySelectorAll('button')].slice(-3).indexOf(event.target.closest('button'));  // undo, redo, clear
  if (at !== 0 && at !== 2) return;
  const painted = () => !['AddImage', undefined].includes(window.editor.command_manager.history.command?.name);
  if (at === 2) while (painted()) window.editor.undo();
  if (at === 2 || !painted()) event.stopImmediatePropagation();
}, true)
