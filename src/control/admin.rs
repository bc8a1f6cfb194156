//! Route table of the admin API, one file per resource. Handlers parse the request, call
//! [`Control`](super::Control) and return JSON; they make no decisions.
//!
//! The application must provide `web::Data<Control>`. Every route is behind `gate`.

mod catalog;
mod edges;
mod error;
mod gate;
pub mod hosts;
mod input;
mod keys;
mod ledger;
mod openapi;
mod organization;
mod page;
mod providers;
mod reload;
mod tenants;
mod usage;

#[cfg(test)]
mod tests;

use actix_web::{Resource, middleware, web};

/// Adds the routes below `/admin/v1` and `/v1/organization`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/admin/v1")
            .wrap(middleware::from_fn(gate::gate))
            .service(at("/tenants").route(web::get().to(tenants::list)).route(web::post().to(tenants::create)))
            .service(
                at("/tenants/{tenant}")
                    .route(web::get().to(tenants::show))
                    .route(web::patch().to(tenants::change))
                    .route(web::delete().to(tenants::delete)),
            )
            .service(at("/tenants/{tenant}/keys").route(web::get().to(keys::list)).route(web::post().to(keys::create)))
            .service(
                at("/tenants/{tenant}/keys/{key}")
                    .route(web::get().to(keys::show))
                    .route(web::patch().to(keys::change))
                    .route(web::delete().to(keys::revoke)),
            )
            .service(at("/tenants/{tenant}/keys/{key}/rotate").route(web::post().to(keys::rotate)))
            .service(at("/tenants/{tenant}/providers").route(web::get().to(providers::chain)))
            .service(
                at("/tenants/{tenant}/providers/{name}")
                    .route(web::put().to(providers::put))
                    .route(web::get().to(providers::show))
                    .route(web::delete().to(providers::delete)),
            )
            .service(at("/tenants/{tenant}/providers/{name}/reseal").route(web::post().to(providers::reseal)))
            .service(
                at("/tenants/{tenant}/tenant-keys").route(web::get().to(tenants::list_keys)).route(web::post().to(tenants::create_key)),
            )
            .service(at("/tenants/{tenant}/tenant-keys/{key}").route(web::delete().to(tenants::delete_key)))
            .service(at("/tenants/{tenant}/epoch").route(web::post().to(tenants::advance_epoch)))
            .service(at("/edges").route(web::get().to(edges::list)).route(web::post().to(edges::create)))
            .service(at("/edges/{edge}").route(web::delete().to(edges::delete)))
            .service(at("/ledger").route(web::get().to(ledger::list)))
            .service(at("/ledger/{request_id}").route(web::get().to(ledger::show)))
            .service(at("/usage").route(web::get().to(usage::list)))
            .service(at("/catalog").route(web::get().to(catalog::show)))
            .service(at("/providers").route(web::get().to(providers::list)))
            .service(at("/reload").route(web::post().to(reload::reload)))
            .service(at("/openapi.json").route(web::get().to(openapi::show)))
            .default_service(web::to(gate::unknown_endpoint)),
    );
    // The parts of OpenAI's Admin API that the ledger can answer.
    config.service(
        web::scope("/v1/organization")
            .wrap(middleware::from_fn(gate::gate))
            .service(at("/usage/completions").route(web::get().to(organization::completions)))
            .service(at("/usage/embeddings").route(web::get().to(organization::embeddings)))
            .service(at("/costs").route(web::get().to(organization::costs)))
            .default_service(web::to(gate::unknown_endpoint)),
    );
}

fn at(path: &str) -> Resource {
    web::resource(path).default_service(web::to(gate::wrong_method))
}
