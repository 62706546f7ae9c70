// Dialogs: focus is kept inside and returns, Escape closes. Base UI does it without inline styles that the policy of
// the server would refuse.
import { Dialog as Base } from '@base-ui/react/dialog';
import type { FormEvent, ReactNode } from 'react';
import { Button, ErrorNote } from './basic';

interface Props {
  title: string;
  description?: ReactNode;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
}

export function Dialog({ title, description, open, onClose, children }: Props) {
  return (
    <Base.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-40 bg-black/60" />
        <Base.Popup className="fixed top-1/2 left-1/2 z-50 max-h-[92dvh] w-[min(32rem,calc(100vw-1.5rem))] -translate-x-1/2 -translate-y-1/2 overflow-y-auto rounded-lg border border-line bg-panel p-4 shadow-xl">
          <Base.Title className="text-lg font-semibold">{title}</Base.Title>
          {description && <Base.Description className="mt-1 text-soft">{description}</Base.Description>}
          <div className="mt-4">{children}</div>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}

interface FormProps extends Props {
  /** Text of the button that does it. */
  action: string;
  danger?: boolean;
  pending: boolean;
  error: unknown;
  onSubmit: () => void;
}

/** A dialog around a form: Enter submits, the complaint is shown above the buttons. */
export function FormDialog({ action, danger, pending, error, onSubmit, children, ...rest }: FormProps) {
  function submit(event: FormEvent): void {
    event.preventDefault();
    event.stopPropagation();
    onSubmit();
  }
  return (
    <Dialog {...rest}>
      <form onSubmit={submit} className="flex flex-col gap-4" noValidate>
        {children}
        <ErrorNote error={error} />
        <div className="flex justify-end gap-2">
          <Button onClick={rest.onClose}>Cancel</Button>
          <Button type="submit" look={danger ? 'danger' : 'main'} disabled={pending}>{action}</Button>
        </div>
      </form>
    </Dialog>
  );
}
