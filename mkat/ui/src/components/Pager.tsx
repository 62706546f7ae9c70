// Pages back and forth, with the place said.
import { ChevronLeft, ChevronRight } from 'lucide-react';
import type { Page } from '../api/types';
import { Button } from './ui/basic';

/** `quiet`: screen readers are not told of each new total, where it changes by itself. */
export function Pager({ page, onPage, what, quiet }: { page: Page<unknown>; onPage: (page: number) => void; what: string; quiet?: boolean }) {
  return (
    <nav aria-label={`Pages of ${what}`} className="mt-4 flex flex-wrap items-center justify-between gap-2">
      <span className="text-soft" role={quiet ? undefined : 'status'}>
        {page.totalCount} {what}{page.totalPages > 1 && `, page ${page.page} of ${page.totalPages}`}
      </span>
      {page.totalPages > 1 && (
        <span className="flex gap-2">
          <Button disabled={!page.hasPreviousPage} onClick={() => onPage(page.page - 1)}>
            <ChevronLeft aria-hidden size={16} /> Previous
          </Button>
          <Button disabled={!page.hasNextPage} onClick={() => onPage(page.page + 1)}>
            Next <ChevronRight aria-hidden size={16} />
          </Button>
        </span>
      )}
    </nav>
  );
}
