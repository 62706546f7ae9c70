// An address to copy, selectable by hand where the clipboard is out of reach (plain http).
import { Check, Copy } from 'lucide-react';
import { useState } from 'react';
import { Button } from './ui/basic';

export function CopyableUrl({ label, url }: { label: string; url: string }) {
  const [copied, setCopied] = useState<'no' | 'yes' | 'failed'>('no');

  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(url);
      setCopied('yes');
    } catch {
      setCopied('failed');
    }
    setTimeout(() => setCopied('no'), 3000);
  }

  return (
    <div>
      <div className="mb-1 text-xs text-soft">{label}</div>
      <div className="flex gap-2">
        <input className="input font-mono text-xs" readOnly value={url} aria-label={label} onFocus={(event) => event.target.select()} />
        <Button onClick={() => void copy()} aria-label={`Copy ${label}`} className="shrink-0">
          {copied === 'yes' ? <Check aria-hidden size={16} /> : <Copy aria-hidden size={16} />}
        </Button>
      </div>
      <p role="status" className="text-xs text-soft">
        {copied === 'yes' && 'Copied.'}
        {copied === 'failed' && 'The browser does not allow it here: select the address and copy it.'}
      </p>
    </div>
  );
}
