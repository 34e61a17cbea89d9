//! The issues of a body that parses and still breaks a rule.

use crate::error::{ApiError, Issue};
use actix_web::http::StatusCode;
use serde_json::Value;
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

pub(crate) fn check(body: &impl Validate) -> Result<(), ApiError> {
    let Err(errors) = body.validate() else {
        return Ok(());
    };
    let mut issues = Vec::new();
    collect(&errors, &mut Vec::new(), &mut issues);
    let invalid = ApiError::new(StatusCode::BAD_REQUEST, "invalid_body");
    Err(issues.into_iter().fold(invalid, ApiError::with_issue))
}

fn collect(errors: &ValidationErrors, path: &mut Vec<Value>, issues: &mut Vec<Issue>) {
    let mut fields: Vec<_> = errors.errors().iter().collect();
    fields.sort_by_key(|(field, _)| *field);
    for (field, kind) in fields {
        // Rules over the whole body are reported under this name.
        let whole = field == "__all__";
        if !whole {
            path.push(Value::from(field.as_ref()));
        }
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(inner, path, issues),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    path.push(Value::from(*index));
                    collect(inner, path, issues);
                    path.pop();
                }
            }
            ValidationErrorsKind::Field(found) => issues.extend(found.iter().map(|error| {
                let message = error.message.as_ref().unwrap_or(&error.code);
                Issue {
                    path: path.clone(),
                    message: message.to_string(),
                    place: None,
                }
            })),
        }
        if !whole {
            path.pop();
        }
    }
}
