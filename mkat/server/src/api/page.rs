//! Paging: `page` and `pageSize` in, the envelope out.

use super::input::Fields;
use serde::Serialize;

/// A page that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    pub page: i64,
    pub size: i64,
}

impl PageRequest {
    /// `page` below 1 is 1; `pageSize` is clamped to 1..=100. Not a number is a mistake.
    pub fn read(query: &mut Fields) -> Self {
        let page = query.integer("Page").unwrap_or(1).clamp(1, 1_000_000_000);
        let size = query.integer("PageSize").unwrap_or(20).clamp(1, 100);
        Self { page, size }
    }

    pub const fn offset(self) -> i64 {
        (self.page - 1) * self.size
    }

    pub fn envelope<T>(self, items: Vec<T>, total: i64) -> Page<T> {
        let total_pages = (total + self.size - 1) / self.size;
        Page {
            items,
            page: self.page,
            page_size: self.size,
            total_count: total,
            total_pages,
            has_next_page: self.page < total_pages,
            has_previous_page: self.page > 1,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub items: Vec<T>,
    pub page: i64,
    pub page_size: i64,
    pub total_count: i64,
    pub total_pages: i64,
    pub has_next_page: bool,
    pub has_previous_page: bool,
}
