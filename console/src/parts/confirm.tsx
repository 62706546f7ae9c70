// Asks before something is done that can't be undone. A native modal dialog: the browser keeps the focus in it.

import { useMutation } from '@tanstack/react-query';
import { useEffect, useId, useRef, type ReactNode } from 'react';
import { Alert, Button } from './ui';

interface Props<T> {
  title: string;
  /** What will happen. */
  children: ReactNode;
  /** Words on the button that does it. */
  action: string;
  run: () => Promise<T>;
  /** It was done. */
  onDone: (result: T) => void;
  onClose: () => void;
}

export function Confirm<T>({ title, children, action, run, onDone, onClose }: Props<T>) {
  const [dialog, titleId, textId] = [useRef<HTMLDialogElement>(null), useId(), useId()];
  const doing = useMutation({ mutationFn: run, onSuccess: onDone });
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      aria-describedby={textId}
      className="bg-card text-ink border-line m-auto w-[min(28rem,calc(100vw-2rem))] rounded-xl border p-4"
      onCancel={(event) => {
        event.preventDefault();
        if (!doing.isPending) onClose();
      }}
    >
      <h2 id={titleId} className="mb-2 text-base font-semibold break-words">
        {title}
      </h2>
      <div id={textId} className="mb-4 space-y-2 break-words">
        {children}
      </div>
      {doing.error && <Alert>{doing.error.message}</Alert>}
      <div className="mt-4 flex justify-end gap-2">
        <Button autoFocus disabled={doing.isPending} onClick={onClose}>
          Cancel
        </Button>
        <Button look="danger" disabled={doing.isPending} onClick={() => doing.mutate()}>
          {doing.isPending ? 'Working…' : action}
        </Button>
      </div>
    </dialog>
  );
}
